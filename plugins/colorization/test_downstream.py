"""The encoder that colorization leaves behind, on its own."""

import pytest
import torch
from pretext_colorization import Colorization, Params, lab

from pretextbench.method import Data
from pretextbench.params import EncoderParams


@pytest.mark.parametrize(
    "shared",
    [EncoderParams(width=16), EncoderParams(name="vit-tiny", depth=1, patch=8)],
    ids=lambda params: params.name,
)
def test_downstream_the_encoder_sees_what_it_saw_in_training(shared: EncoderParams) -> None:
    """In the encoder alone, without the method: colours of the same lightness make no difference; gradients pass."""
    encoder = Colorization.build_encoder(Params(), shared, Data(32, (0.5,) * 3, (0.25,) * 3, 1)).eval()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    grey = lab.lab_to_rgb(torch.cat((lab.lightness(x), torch.zeros(2, 2, 32, 32)), 1)).detach()
    (gradient,) = torch.autograd.grad(encoder(x).sum(), x)
    assert (encoder(x) - encoder(grey)).abs().max() < 1e-5
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
