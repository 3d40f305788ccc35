"""Check of weights that `init` may propose: the network they belong to, whether they fit it and are available.

Imports torch and the libraries of networks, so it runs in the process that measures.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pretextbench.base.encoder_params import NETWORKS, EncoderParams
from pretextbench.base.section import parse
from pretextbench.command.file_network import built, named, recognised, section
from pretextbench.command.weight_search import (
    HUB_FILES,
    Candidate,
    Weights,
    hub_address,
    hub_cache,
    torch_cache,
    unreachable,
)
from pretextbench.encoders import weights
from pretextbench.encoders.adapter import Adapter
from pretextbench.encoders.matching import match
from pretextbench.encoders.resnet import SMALL_IMAGE
from pretextbench.encoders.vit import patch_size
from pretextbench.errors import UserError
from pretextbench.params import Params
from pretextbench.project import demands
from pretextbench.project.inventory import check_references, take_stock
from pretextbench.project.layout import CARD, WEIGHTS
from pretextbench.train.encoder_folder import read_card

SHOWN = 3  # tensors that a message names


def usable(candidates: Sequence[Candidate], network: str | None, wanted: int) -> list[Weights]:
    """The first `wanted` candidates that can be used.

    Args:
        candidates: in the order of preference.
        network: of a file that was given; None: to be recognised.
        wanted: the largest number.

    Raises:
        UserError: the candidate that was given cannot be used. Others are left out.
    """
    made: list[Weights] = []
    for candidate in candidates:
        if len(made) == wanted:
            break
        try:
            made.append(_usable(candidate, network))
        except UserError as error:
            if candidate.origin == "option":
                raise UserError(as_typed(str(error))) from None
    return made


def accept(params: Params) -> None:
    """Check parameters as the inventory does, before they are written.

    Raises:
        UserError: it would refuse them.
    """
    try:
        entries = take_stock(params, {})
        check_references(params, {})
        demands.refuse(demands.of_parameters(params, entries))
    except UserError as error:
        raise UserError(as_typed(str(error))) from None


def as_typed(message: str) -> str:
    """A message about parameters of params.yaml as one about the options of `init` that set them."""
    message = re.sub(r"^references\.[a-z0-9-]+: ", "", message)
    return message.replace("encoder.weights", "--weights").replace("encoder.name", "--encoder")


def _usable(candidate: Candidate, network: str | None) -> Weights:
    if candidate.file or not Path(candidate.name).is_absolute():
        return _of_library(candidate)
    path = Path(candidate.name)
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and not (path / WEIGHTS).is_file():
        raise UserError(
            f"encoder.weights: {path} has no {WEIGHTS}. Give an encoder folder of this project, or the path of a file."
        )
    if not network and (folder / CARD).is_file() and (path.is_dir() or path.name == WEIGHTS):
        return _of_folder(candidate, folder)
    return _of_file(candidate, path / WEIGHTS if path.is_dir() else path, network)


def _of_library(candidate: Candidate) -> Weights:
    """Weights that a library has, under their whole name.

    Raises:
        UserError: the library has none of this name, or they are in no cache and their server cannot be reached.
    """
    name, _, tag = candidate.name.partition(".")
    if candidate.file:
        name, tag = _by_file_name(candidate.file)
    params = section(name, weights=tag or "pretrained")
    network = built(params)
    assert isinstance(network, Adapter)
    offer = network.offer(params.weights_tag or "")
    if candidate.origin == "option":
        _check_place(network, offer.name, offer.place)
    whole = tag or (network.network.pretrained_cfg["tag"] if name.startswith("timm/") else offer.name.split()[-1])  # type: ignore[index]
    return Weights(section(name, weights=whole or "pretrained"), candidate.origin, network.side)


def _by_file_name(file: str) -> tuple[str, str]:
    """Network and weights of torchvision whose file has this name.

    Raises:
        UserError: torchvision has none.
    """
    from torchvision import models

    for name in models.list_models(module=models):
        for entry in models.get_model_weights(name):
            if entry.url.endswith(f"/{file}"):
                return f"torchvision/{name}", entry.name
    raise UserError(f"encoder.weights: {file} is none of torchvision's files.")


def _check_place(network: Adapter, name: str, place: str) -> None:
    """Refuse weights that are in no cache and cannot be downloaded."""
    repository = place.partition("huggingface.co/")[2]
    if repository:
        folder, server = hub_cache() / f"models--{repository.replace('/', '--')}", hub_address()
        cached = any(path.is_file() for file in HUB_FILES for path in folder.glob(f"snapshots/*/{file}"))
    else:
        cached, server = (torch_cache() / place.rpartition("/")[2]).is_file(), "/".join(place.split("/")[:3]) + "/"
    if not cached and (reason := unreachable(server)):
        raise UserError(
            f"encoder.weights: {name} is in no cache here, and {server.split('/')[2]} cannot be reached ({reason}). "
            f"Get {place} on another machine, copy the file here, and give its path with --weights FILE "
            f"--encoder {network.name.partition('.')[0]}."
        )


def _of_folder(candidate: Candidate, folder: Path) -> Weights:
    """An encoder folder of this project, whose card describes the network."""
    card = read_card(folder)
    asked = card.encoder.model_dump(mode="json") | {"weights": candidate.name, "mean": None, "std": None}
    if card.encoder.transformer:
        asked["patch"] = patch_size(card.encoder.patch, card.image_size)
    elif not card.encoder.libraries and card.encoder.stem == "auto":
        asked["stem"] = "small" if card.image_size <= SMALL_IMAGE else "large"
    params = parse(EncoderParams, asked, str(folder / CARD), "encoder")
    network = built(params, card.image_size)
    weights.check(network, params)
    small = params.stem == "small" or card.encoder.transformer
    return Weights(params, candidate.origin, getattr(network, "side", None), card.image_size if small else None)


def _of_file(candidate: Candidate, path: Path, network: str | None) -> Weights:
    """A file of tensors.

    Raises:
        UserError: it cannot be read, is of another network than the one that was named, or of none that is recognised.
    """
    tensors = weights.read(path)
    for params in named(network, tensors) if network else recognised(path, tensors):
        whole = params.model_copy(update={"weights": candidate.name})
        try:
            encoder = built(params)
            match(getattr(encoder, "network", encoder), tensors, whole, str(path), encoder.image_size)
        except UserError:
            if network:
                raise
            continue
        small = SMALL_IMAGE // 2 if params.stem == "small" else None
        return Weights(whole, candidate.origin, getattr(encoder, "side", None), small)
    shown = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:SHOWN])
    raise UserError(
        f"encoder.weights: the network of {path} is not recognised by its name or shapes ({shown}, ...). Name it with "
        f"--encoder: timm/NAME, torchvision/NAME or {', '.join(NETWORKS)}."
    )
