"""Encoders, for plugins and for the library: the interfaces, the residual networks, and `build`."""

from collections.abc import Sequence

from pretextbench.encoders.interface import Encoder, TokenEncoder
from pretextbench.encoders.resnet import ResNet
from pretextbench.params import EncoderParams

__all__ = ["Encoder", "ResNet", "TokenEncoder", "build"]


def build(params: EncoderParams, image_size: int, mean: Sequence[float], std: Sequence[float]) -> Encoder:
    """The encoder that params.yaml asks for, freshly initialised from torch's global generator.

    Raises:
        UserError: the patch does not fit the image size, the network is not known, its library is not installed, or it
            takes no images of this size.
    """
    if params.transformer:  # imports take seconds, here and below
        from pretextbench.encoders.vit import VisionTransformer

        return VisionTransformer(params, image_size, mean, std)
    if params.name.startswith("timm/"):
        from pretextbench.encoders import timm_encoder

        return timm_encoder.build(params.tagged_name, image_size, mean, std)
    if params.name.startswith("torchvision/"):
        from pretextbench.encoders.torchvision_encoder import TorchvisionEncoder

        return TorchvisionEncoder(params.name, image_size, mean, std)
    return ResNet(params, image_size, mean, std)
