"""Encoders, for plugins and for the library: the interfaces, the residual networks, and `build`."""

from collections.abc import Sequence

from pretextbench.encoders.interface import Encoder, TokenEncoder
from pretextbench.encoders.resnet import ResNet
from pretextbench.params import EncoderParams

__all__ = ["Encoder", "ResNet", "TokenEncoder", "build"]


def build(params: EncoderParams, image_size: int, mean: Sequence[float], std: Sequence[float]) -> Encoder:
    """The encoder that params.yaml asks for, freshly initialised from torch's global generator.

    Raises:
        UserError: the patch does not fit the image size, or the library of the architecture is not installed.
    """
    if params.transformer:
        from pretextbench.encoders.vit import VisionTransformer  # here: it imports timm

        return VisionTransformer(params, image_size, mean, std)
    return ResNet(params, image_size, mean, std)
