"""What every format of export has in common, and which formats there are. Nothing optional is imported here."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from pretextbench.encoder import Encoder, ResNet
from pretextbench.errors import UserError, nearest
from pretextbench.saved import Card

INPUT = "images: float32 (B, 3, H, W) in [0, 1]"


@dataclass(frozen=True)
class Kind:
    """What a format is before its module is imported."""

    module: str  # of this package
    suffix: str  # of its files
    packages: tuple[str, ...]  # that writing or checking needs
    normalises: bool  # the file takes images in [0, 1]; else the printed lines normalise them first


KINDS = {
    "torchvision": Kind("vision", ".safetensors", ("torch", "torchvision"), normalises=False),
    "timm": Kind("image_models", ".safetensors", ("torch", "timm"), normalises=False),
    "onnx": Kind("graph", ".onnx", ("torch", "onnx", "onnxscript", "onnxruntime"), normalises=True),
    "torchscript": Kind("script", ".pt", ("torch",), normalises=True),
}


class Format(Protocol):
    """A way to write an encoder down."""

    def write(self, encoder: Encoder, card: Card, path: Path) -> None:
        """Write the encoder, in evaluation mode on the CPU, to `path`."""

    def code(self, encoder: Encoder, card: Card, path: Path) -> str:
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


def rounded(values: Any) -> list[float]:
    """Numbers as people read them; float32 has no more digits."""
    return [round(value, 7) for value in values]
