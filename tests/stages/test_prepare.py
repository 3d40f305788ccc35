"""Stage `prepare`: what it says before hours are spent."""

import pytest

from pretextbench.errors import UserError
from stages.prepare import no_control_wants_labels


def test_a_control_that_learns_from_labels_is_refused_before_anything_is_pretrained() -> None:
    with pytest.raises(UserError, match=r"lists supervised, .* Write `controls: \[random\]`"):
        no_control_wants_labels(["random", "supervised"])


def test_the_untrained_encoder_wants_none() -> None:
    no_control_wants_labels(["random"])
