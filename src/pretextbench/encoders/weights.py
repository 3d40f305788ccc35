"""Weights from which training starts: read without running code, matched by name, and reported."""

import argparse
import contextlib
import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.encoders.adapter import IMAGENET, Adapter
from pretextbench.encoders.interface import Encoder
from pretextbench.encoders.matching import Match, match
from pretextbench.errors import UserError

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student", "encoder", "backbone")
DEEP = 3  # dictionaries in dictionaries, until the tensors
CARD = "encoder.json"  # of an encoder folder; `project.layout` has the name for the layers above


@dataclass(frozen=True)
class Source:
    """Weights that were read, with all that travels with them."""

    name: str  # for people
    sha256: str  # of the file; of weights that a library has downloaded, of the tensors
    tensors: Mapping[str, Tensor]
    mean: tuple[float, ...]  # on the [0, 1] scale
    std: tuple[float, ...]
    normalisation: str  # where these come from
    licence: str = ""


@dataclass(frozen=True)
class Loaded:
    """Report of what an encoder has taken from its start weights."""

    source: str
    sha256: str
    match: Match
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str
    licence: str

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (self.mean, self.std))
        lines = [
            f"start weights: {self.source}, sha256 {self.sha256[:12]}: {self.match}",
            f"normalisation: mean {mean}, std {std} ({self.normalisation})",
        ]
        return "\n".join([*lines, f"licence of the weights: {self.licence}"] if self.licence else lines)


def start(encoder: Encoder, params: EncoderParams, use: bool = True) -> Loaded | None:
    """Give the encoder the weights and the normalisation that `params` asks for; None where it asks for no weights.

    No random number is drawn. `use`: False for a control that stays as initialised.

    Raises:
        UserError: the weights cannot be read or downloaded, or do not fit; the encoder is then as it was.
    """
    if params.weights is None or not use:
        if params.mean and params.std:
            _normalise(encoder, params.mean, params.std)
        return None
    source = _source(encoder, params)
    network = _network(encoder)
    matched = match(network, source.tensors, params, source.name, encoder.image_size)
    network.load_state_dict(dict(matched.tensors), strict=False)
    mean, std, reason = source.mean, source.std, source.normalisation
    if params.mean and params.std:
        mean, std, reason = params.mean, params.std, "encoder.mean and encoder.std"
    _normalise(encoder, mean, std)
    return Loaded(source.name, source.sha256, matched, mean, std, reason, source.licence)


def check(encoder: Encoder, params: EncoderParams) -> None:
    """Refuse weights that do not fit, before anything is trained; the encoder may be on torch's device `meta`.

    Nothing is downloaded: of weights that a library downloads, only their name is checked.

    Raises:
        UserError: see `start`.
    """
    if params.weights_tag and isinstance(encoder, Adapter):
        encoder.offer(params.weights_tag)
    elif params.weights:
        source = _source(encoder, params)
        match(_network(encoder), source.tensors, params, source.name, encoder.image_size)


def _network(encoder: Encoder) -> nn.Module:
    """The module whose weights have the names of its library."""
    network = getattr(encoder, "network", encoder)
    assert isinstance(network, nn.Module)
    return network


def _normalise(encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    for name, values in (("mean", mean), ("std", std)):
        buffer = encoder.get_buffer(name)
        buffer.copy_(torch.tensor(values).view_as(buffer))


def _source(encoder: Encoder, params: EncoderParams) -> Source:
    if params.weights_file is None:
        return _downloaded(encoder, params.weights_tag or "")
    digest = params.start_sha256()
    _check_card(params.weights_file, digest)
    tensors = read(params.weights_file)
    mean: Sequence[float]
    std: Sequence[float]
    mean, std, reason = *IMAGENET, "ImageNet's; encoder.mean and encoder.std give others"
    if isinstance(encoder, Adapter):
        mean, std = encoder.usual
        reason = f"that of {encoder.name}; encoder.mean and encoder.std give others"
    if all(name in tensors and tensors[name].numel() == 3 for name in ("mean", "std")):
        mean, std = (tuple(tensors[name].flatten().tolist()) for name in ("mean", "std"))
        reason = "of the file"
    kept = {name: tensor for name, tensor in tensors.items() if name not in ("mean", "std")}
    return Source(str(params.weights_file), digest, kept, tuple(mean), tuple(std), reason)


def _downloaded(encoder: Encoder, tag: str) -> Source:
    """Weights of a library, by its own call.

    Raises:
        UserError: the library has none of this name, or cannot get them.
    """
    if not isinstance(encoder, Adapter):
        raise UserError(
            f"encoder.weights: {tag!r} names weights of timm or torchvision, and this encoder is a "
            f"{type(encoder).__name__}. Give the path of a file, or set null."
        )
    offer = encoder.offer(tag)
    try:
        with torch.random.fork_rng(devices=[]):  # the library may build a network for them
            tensors = offer.load()
    except Exception as error:  # of the network, the hub or the disk: each library has its own
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"encoder.weights: {offer.name} could not be downloaded ({reason:.200}). Without a network, get "
            f"{offer.place} on another machine, copy the file here, and set encoder.weights to its path."
        ) from error
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return Source(offer.name, digest.hexdigest(), tensors, offer.mean, offer.std, "of the weights", offer.licence)


def _check_card(path: Path, digest: str) -> None:
    """Refuse weights of an encoder folder that are not those of its card."""
    card = path.with_name(CARD)
    if path.name != "encoder.safetensors" or not card.is_file():
        return
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(card.read_text(encoding="utf-8"))
        if content.get("weights_sha256") != digest:
            raise UserError(
                f"encoder.weights: {path} is not the file that its {CARD} describes. Copy the folder again."
            )


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, by name, on the CPU; code in it is not run.

    Raises:
        UserError: the file is damaged, has code in it, or has no tensors.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"encoder.weights: {path} cannot be read ({error}). It may be cut off: copy it again."
        ) from error
    return _tensors(content, path)


def _unpickled(path: Path) -> Any:
    """The content of a file of torch.save, of plain values and tensors alone."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):  # plain options
            warnings.simplefilter("ignore")  # of unusual pickles; the errors below are enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its reader, given any bytes, may raise anything
        if names := _code(path, str(error)):
            raise UserError(
                f"encoder.weights: {path} holds more than tensors ({names}): reading that would run code of the file, "
                "so it is not read. Where you trust the file, load it yourself and save model.state_dict() alone."
            ) from None
        raise UserError(
            f"encoder.weights: {path} cannot be read as weights ({type(error).__name__}). It may be cut off: copy it "
            "again."
        ) from error


def _code(path: Path, message: str) -> str:
    """The names of code that a file would import; empty where it is only damaged."""
    with contextlib.suppress(Exception):  # of files that are no archives
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if names := [name for name in unsafe if name != "argparse.Namespace"]:
            return ", ".join(names)[:200]
    return "code" if re.search("unsupported (global|class)|call reduce", message, re.IGNORECASE) else ""


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in what a file holds: trainings put it into others."""
    for _ in range(DEEP):
        if not isinstance(content, Mapping):
            break
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        inner = {name: value for name, value in content.items() if isinstance(value, Mapping) and value}
        names = [name for name in itertools.chain(CONTAINERS, inner) if name in inner]
        content = inner[names[0]] if names else None
    raise UserError(
        f"encoder.weights: {path} holds no tensors by name. Save model.state_dict() with torch.save or safetensors."
    )
