"""Label-free measures at points where their value is known."""

import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.evaluate import protocol


def test_one_image_is_refused():
    with pytest.raises(UserError, match="two validation images or more; found 1"):
        protocol.measure(torch.randn(1, 4))
