"""The formats of an exported encoder, and the architectures of torchvision and timm that can hold one."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from pretextbench.encoder import Encoder, ResNet
from pretextbench.encoders.resnet import DESIGNS, BasicBlock
from pretextbench.errors import UserError, nearest
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.params import EncoderParams
from pretextbench.train.encoder_folder import Card

INPUT = "images: float32 (B, 3, H, W) in [0, 1]"


@dataclass(frozen=True)
class Kind:
    """What a format is before its module is imported."""

    module: str  # of this package
    suffix: str  # of its files
    packages: tuple[str, ...]  # that writing or checking needs
    normalises: bool  # the file takes images in [0, 1]; else the printed lines normalise them first


KINDS = {
    "torchvision": Kind("torchvision_model", ".safetensors", ("torch", "torchvision"), normalises=False),
    "timm": Kind("timm_model", ".safetensors", ("torch", "timm"), normalises=False),
    "onnx": Kind("onnx_model", ".onnx", ("torch", "onnx", "onnxscript", "onnxruntime"), normalises=True),
    "torchscript": Kind("torchscript", ".pt", ("torch",), normalises=True),
}


class Format(Protocol):
    """A way to write an encoder down."""

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """Write the encoder, in evaluation mode on the CPU, to `path`; `layer` is where its features come from."""

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`. It is printed, and it is what is compared."""


def kind(name: str) -> Kind:
    """The format called `name`.

    Raises:
        UserError: there is none, or a package that it needs is not installed.
    """
    if name not in KINDS:
        raise UserError(f"--to: there is no format {name!r}.{nearest(name, KINDS)} Allowed: {', '.join(KINDS)}.")
    missing = [package for package in KINDS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"--to {name} needs {' and '.join(missing)}, which is not installed. Install it: uv sync --extra export."
        )
    return KINDS[name]


def residual(encoder: Encoder, name: str) -> ResNet:
    """The encoder, if it is the shared residual network.

    Raises:
        UserError: it is a backbone of a method's own, which no other library knows.
    """
    if type(encoder) is not ResNet:
        raise UserError(
            f"--to {name}: this encoder is a {type(encoder).__name__}, a backbone of its method's own, which {name} "
            "does not have. Export it as onnx or torchscript."
        )
    return encoder


def weights(encoder: ResNet) -> dict[str, Tensor]:
    """Its tensors under torchvision's names, which are timm's too; the statistics of the images are left out."""
    return {name: value.contiguous() for name, value in encoder.state_dict().items() if name not in ("mean", "std")}


def network(encoder: Encoder, layer: str) -> nn.Module:
    """Gives the features of a layer; of the last one it is the encoder itself."""
    return encoder if layer == list(encoder.channels)[-1] else LayerFeatures(encoder, layer)


def readout(encoder: Encoder, layer: str) -> list[str]:
    """Python that takes `features` of a layer out of a whole `model`, from images that `normalise` has made ready."""
    if layer == list(encoder.channels)[-1]:
        return ["with torch.no_grad():", f"    features = model.eval()(normalise(images))  # {INPUT}"]
    grid = LayerFeatures(encoder, layer).grid
    return [
        "maps = {}",
        f"model.{layer}.register_forward_hook(lambda module, inputs, output: maps.update({layer}=output))",
        "with torch.no_grad():",
        f"    model.eval()(normalise(images))  # {INPUT}",
        f"features = torch.nn.functional.adaptive_avg_pool2d(maps[{layer!r}], {grid}).flatten(1)",
    ]


def rounded(values: Any) -> list[float]:
    """Numbers as people read them; float32 has no more digits."""
    return [round(value, 7) for value in values]


PAPER = 64  # channels of the first stage, which other libraries take for granted


@dataclass(frozen=True)
class Plan:
    """What a library must be told to build the same network."""

    name: str  # resnet18
    block: str  # BasicBlock or Bottleneck: the same word in torchvision and timm
    depths: tuple[int, ...]  # blocks per stage
    widths: tuple[int, ...]  # channels per stage, before the expansion of the block
    small: bool  # stem of 3x3, stride 1, without pooling

    @property
    def width(self) -> int:
        """Channels of the stem and of the first stage."""
        return self.widths[0]

    @property
    def known(self) -> bool:
        """Whether torchvision and timm have this network, but for its stem, under its name."""
        return self.width == PAPER and self.name != "resnet10"

    def stem(self) -> list[str]:
        """Python that gives `model`, built with the large stem of 64 channels, the encoder's stem."""
        if self.small:
            return [
                f"model.conv1 = torch.nn.Conv2d(3, {self.width}, 3, padding=1, bias=False)  # small images: stride 1,",
                "model.maxpool = torch.nn.Identity()  # and no pooling",
            ]
        if self.width != PAPER:
            return [f"model.conv1 = torch.nn.Conv2d(3, {self.width}, 7, stride=2, padding=3, bias=False)"]
        return []


def plan(params: EncoderParams, small: bool) -> Plan:
    """Of the encoder that these parameters gave."""
    design = DESIGNS[params.name]
    block = "BasicBlock" if design.block is BasicBlock else "Bottleneck"
    return Plan(params.name, block, design.depths, tuple(params.width * 2**i for i in range(4)), small)
