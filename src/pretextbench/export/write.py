"""Export of an encoder: the formats, writing one of them, and the comparison of the result with the original."""

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pretextbench.augment.pipeline import as_float
from pretextbench.base.files import sha256, whole_file, write_whole
from pretextbench.data import synthetic
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError, nearest
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.export.graphs import DEPRECATED, INPUT, Onnx, TorchScript, network
from pretextbench.export.models import Timm, Torchvision
from pretextbench.params import Prepare
from pretextbench.train import encoder_folder
from pretextbench.train.encoder_folder import Card

LIMIT = 1e-5  # of the largest difference, in units of the largest feature of the original
IMAGES = 16


class Format(Protocol):
    """A way to write an encoder down."""

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """Write the encoder, in evaluation mode on the CPU, to `path`; `layer` is where its features come from."""

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`. It is printed, and the comparison runs it."""


@dataclass(frozen=True)
class Kind:
    """One format."""

    form: Format
    suffix: str  # of its files
    packages: tuple[str, ...]  # that writing or checking needs
    normalises: bool  # the file takes images in [0, 1]; else the printed lines normalise them first


KINDS = {
    "torchvision": Kind(Torchvision(), ".safetensors", ("torch", "torchvision"), normalises=False),
    "timm": Kind(Timm(), ".safetensors", ("torch", "timm"), normalises=False),
    "onnx": Kind(Onnx(), ".onnx", ("torch", "onnx", "onnxscript", "onnxruntime"), normalises=True),
    "torchscript": Kind(TorchScript(), ".pt", ("torch",), normalises=True),
}


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


@dataclass(frozen=True)
class Agreement:
    """Difference between the features of the export and those of the original, in float32 on the CPU."""

    images: int  # drawn scenes: in a batch, one alone, and larger ones
    largest: float  # absolute difference of one number
    scale: float  # largest absolute feature of the original

    @property
    def relative(self) -> float:
        """The largest difference in units of the scale."""
        return self.largest / self.scale if self.scale else float("inf" if self.largest else 0)

    @property
    def holds(self) -> bool:
        """Whether they are the same features; NaN is not."""
        return self.relative <= LIMIT

    def __str__(self) -> str:
        return (
            f"largest absolute difference {self.largest:.2e}, which is {self.relative:.2e} of the largest feature, "
            f"{self.scale:.3g} (allowed: {LIMIT:g}); {self.images} drawn scenes in a batch, one alone and larger ones, "
            "float32 on the CPU"
        )


def compare(original: nn.Module, code: str, side: int) -> Agreement:
    """Run `code` and the original on the same images."""
    pairs = [(_original(original, images), run(code, images)) for images in scenes(side)]
    largest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    if not all(theirs.isfinite().all() for _, theirs in pairs):
        largest = float("nan")
    scale = max(float(ours.abs().max()) for ours, _ in pairs)
    return Agreement(sum(len(ours) for ours, _ in pairs), largest, scale)


def run(code: str, images: Tensor) -> Tensor:
    """The features (B, D) that the lines make of images (B, 3, H, W) in [0, 1].

    The lines come from this package, out of checked numbers and a quoted path. Running them shows that the printed
    lines are correct.
    """
    names = {"images": images}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", DEPRECATED)
        exec(code, names)
    return torch.as_tensor(names["features"])


def scenes(side: int) -> Iterator[Tensor]:
    """Scenes of the synthetic data set, (B, 3, H, W) in [0, 1]: a batch, one alone, and some half as large again."""
    for count, edge in ((IMAGES, side), (1, side), (3, side + side // 2)):
        drawn = synthetic.listing(Prepare(image_size=max(8, min(edge, 1024))))
        yield as_float(torch.from_numpy(np.stack(list(drawn.read(range(count))))))


def _original(original: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = original(images)
    return features


class DiffersError(Exception):
    """The export does not give the features of the original: a fault of ours or of the other library."""


def last_layer(layers: list[str]) -> tuple[str, str]:
    """The last layer and its description: the default choice."""
    return layers[-1], "the last one"


@dataclass(frozen=True)
class Exported:
    """An exported encoder."""

    path: Path
    card: Path  # JSON next to it
    code: str  # Python that loads it and turns `images` into `features`
    agreement: Agreement
    features: str  # layer and length of the features, in words


def export(
    folder: Path, to: str, target: Path, choose: Callable[[list[str]], tuple[str, str]] = last_layer
) -> Exported:
    """Write the encoder in `folder` to `target` in format `to`, and a card next to it.

    `choose` gets the names of the layers and returns the one that the features come from, and why it is this one.

    Raises:
        UserError: no such format, a package is missing, the suffix is another's, the encoder cannot be read or is not
            one that the format can hold, or the place cannot be written.
        DiffersError: the features differ by more than `check.LIMIT`; nothing was written.
    """
    chosen = kind(to)
    _check(target, to, chosen, folder)
    encoder, card = encoder_folder.load(folder)
    layer, reason = choose(encoder.layers)
    form = chosen.form
    with whole_file(target) as scratch:
        form.write(encoder, card, scratch, layer)
        original = network(encoder, layer)
        agreement = compare(original, form.code(encoder, card, scratch, layer), card.image_size)
        if not agreement.holds:
            raise DiffersError(f"{target} was not written: its features are not the encoder's ({agreement}).")
        code, digest = form.code(encoder, card, target, layer), sha256(scratch)
        card_path = target.with_name(target.name + ".json")
        dim = LayerFeatures(encoder, layer).dim
        facts = _facts(card, to, digest, agreement, code) | {"layer": layer, "layer_choice": reason, "dim": dim}
        write_whole(card_path, (json.dumps(facts, indent=2) + "\n").encode())
    return Exported(target, card_path, code, agreement, f"{layer} ({reason}), {dim} features")


def _check(target: Path, to: str, chosen: Kind, folder: Path) -> None:
    if target.suffix != chosen.suffix:
        raise UserError(f"-o: {target} does not end in {chosen.suffix}, as a file of {to} does.")
    if target.is_dir():
        raise UserError(f"-o: {target} is a folder. Give the name of a file.")
    if target.resolve() == (folder / encoder_folder.WEIGHTS).resolve():
        raise UserError(f"-o: {target} is the encoder itself. Give another place.")


def _facts(card: Card, to: str, digest: str, agreement: Agreement, code: str) -> dict[str, Any]:
    chosen = kind(to)
    return {
        "format": to,
        "sha256": digest,
        "method": card.method,
        "seed": card.seed,
        "distribution": card.distribution,
        "version": card.version,
        "weights_sha256": card.weights_sha256,
        "encoder": card.encoder.model_dump(),
        "image_size": card.image_size,
        "input": INPUT,
        "mean": card.mean,
        "std": card.std,
        "normalisation": "in the file" if chosen.normalises else "before the model: see load",
        "difference": {
            "largest": agreement.largest,
            "largest_feature": agreement.scale,
            "images": agreement.images,
        },
        "load": code.splitlines(),
        "versions": {package: version(package) for package in chosen.packages},
    }
