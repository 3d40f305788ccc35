"""Recognition of the network that a file of weights is of: by its name, or by the shape of its first layer."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretextbench.base.encoder_params import NETWORKS, EncoderParams
from pretextbench.base.section import parse
from pretextbench.encoder import Encoder, build
from pretextbench.encoders.adapter import USUAL

GREY = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WIDTHS = (4, 256)  # channels of the first layer of a residual network of this project
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # of torchvision
VITS = {  # (numbers of a token, pixels of a patch) -> timm's network
    (192, 16): "vit_tiny_patch16_224",
    (384, 16): "vit_small_patch16_224",
    (768, 16): "vit_base_patch16_224",
    (384, 8): "vit_small_patch8_224",
    (768, 8): "vit_base_patch8_224",
    (384, 14): "vit_small_patch14_dinov2",
    (768, 14): "vit_base_patch14_dinov2",
}


def named(network: str, tensors: Mapping[str, Tensor]) -> Iterator[EncoderParams]:
    """The network that was named; width and stem of a residual network of this project are those of the file."""
    first = _tensor(tensors, "conv1.weight")
    if network in NETWORKS and network.startswith("resnet") and first is not None:
        yield _resnet(network, first)
    else:
        yield section(network)


def recognised(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[EncoderParams]:
    """Networks that a file may be of: by its name or that of its folder in a cache, and by its first layer."""
    yield from _by_path(path)
    first = _tensor(tensors, "conv1.weight")
    if first is not None:
        if tuple(first.shape) == (64, 3, 7, 7):
            yield from (section(f"torchvision/{name}") for name in RESNETS)
        if WIDTHS[0] <= len(first) <= WIDTHS[1]:
            yield from (_resnet(name, first) for name in NETWORKS if name.startswith("resnet"))
    patches = _tensor(tensors, "patch_embed.proj.weight")
    if patches is not None and (vit := VITS.get((len(patches), patches.shape[-1]))):
        yield section(f"timm/{vit}")
    if _tensor(tensors, "conv_proj.weight") is not None:
        yield from (section(f"torchvision/{name}") for name in ("vit_b_16", "vit_b_32", "vit_l_16"))


def _by_path(path: Path) -> Iterator[EncoderParams]:
    """Networks of libraries that the name of a file or of its folder in a cache begins with."""
    from torchvision import models

    for part in path.parts:
        if re.fullmatch(r"models--timm--[\w.]+", part):
            yield section("timm/" + part.removeprefix("models--timm--"))
    word = re.split(r"[.-]", path.stem)[0]
    if word in models.list_models(module=models):
        yield section(f"torchvision/{word}")
    if re.fullmatch(r"[a-z]\w+", word):
        yield section(f"timm/{word}")


def _resnet(name: str, first: Tensor) -> EncoderParams:
    return section(name, width=len(first), stem="small" if first.shape[-1] == 3 else "large")


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor | None:
    """The first layer of this name, with any prefix: the one with the shortest name."""
    names = [key for key, tensor in tensors.items() if f".{key}".endswith(f".{name}") and tensor.ndim == 4]
    return tensors[min(names, key=len)] if names else None


def section(name: str, **values: Any) -> EncoderParams:
    """The section `encoder` with these values.

    Raises:
        UserError: it has mistakes.
    """
    return parse(EncoderParams, {"name": name, **values}, "--weights", "encoder")


def built(params: EncoderParams, image_size: int = USUAL) -> Encoder:
    """The network without its numbers."""
    with torch.device("meta"):
        return build(params, image_size, *GREY)
