"""Encoders, for plugins and for the library: the interface, the residual networks, and `build`."""

from collections.abc import Sequence

from pretextbench.encoders.interface import Encoder
from pretextbench.encoders.resnet import ResNet
from pretextbench.params import EncoderParams

__all__ = ["Encoder", "ResNet", "build"]


def build(params: EncoderParams, image_size: int, mean: Sequence[float], std: Sequence[float]) -> ResNet:
    """The encoder that params.yaml asks for, freshly initialised from torch's global generator."""
    return ResNet(params, image_size, mean, std)
