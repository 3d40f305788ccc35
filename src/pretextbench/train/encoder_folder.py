"""An encoder in a folder: its weights, and a card with its architecture, training and cost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from pretextbench import registry
from pretextbench.base.files import sha256, write_whole
from pretextbench.base.section import parse
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Data
from pretextbench.params import EncoderParams
from pretextbench.project import layout
from pretextbench.train.checkpoint import snapshot_name

WEIGHTS, CARD = layout.WEIGHTS, layout.CARD


class Card(BaseModel):
    """Record of an encoder: architecture, training, cost and versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    row: str = ""  # name of a reference in the comparison; empty: the row is called as the method
    seed: int
    control: bool  # a control, not a pretext method
    distribution: str
    version: str
    source_hash: str
    params: dict[str, Any]  # of the method, defaults filled in
    encoder: EncoderParams
    image_size: int  # pixels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int  # of the encoder
    views: int = 0  # of an image, that a step sees; 0 where nothing is trained
    multiply_adds: int = 0  # of one image through the encoder
    training_multiply_adds: int = 0  # of one image in the forward passes of a step: see train.work
    images_seen: int  # the budget, as spent
    budget_multiply_adds: float | None = None  # the budget, where it was given in them: pretrain.multiply_adds
    steps: int
    batch_size: int
    seconds: float  # of training steps alone, resumed parts added up
    images_per_second: float
    peak_memory_bytes: int  # of the process
    peak_device_memory_bytes: int  # of the accelerator, 0 on the CPU
    device: str
    precision: str
    data_sha256: str  # of the prepared images
    grey_range: tuple[int, int] | None = None  # of deep grey images, by which they were scaled; None: 0 and 65535
    snapshots: tuple[int, ...] = ()  # steps whose encoder lies next to this one, for the learning curve
    training: str = ""  # names all that determined the training: see budget.Job.key
    start_sha256: str = ""  # of the weights from which training started: of their file; see encoders.weights
    monitored: bool = False  # k-NN on validation labels was watched meanwhile; it chose nothing
    weights_sha256: str = ""
    versions: dict[str, str]


def as_bytes(encoder: Encoder) -> bytes:
    """The weights of an encoder as the content of a safetensors file; no random number is drawn."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    return bytes(serialised(weights))


def save(encoder: Encoder, card: Card, folder: Path) -> Card:
    """Write weights and card into `folder`; returns the card with the hash of the weights."""
    write_whole(folder / WEIGHTS, as_bytes(encoder))
    card = card.model_copy(update={"weights_sha256": sha256(folder / WEIGHTS)})
    optional = ("budget_multiply_adds", "grey_range", "row", "snapshots", "start_sha256")
    left_out = {name for name in optional if not getattr(card, name)}
    write_whole(folder / CARD, (card.model_dump_json(indent=2, exclude=left_out) + "\n").encode())
    return card


def read_card(folder: Path) -> Card:
    """The card of a saved encoder.

    Raises:
        UserError: the card is missing or damaged.
    """
    try:
        return Card.model_validate(json.loads((folder / CARD).read_text()))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder} holds no encoder that can be read ({error}). Run the pretrain stage.") from error


def load(folder: Path) -> tuple[Encoder, Card]:
    """A saved encoder in evaluation mode on the CPU, and its card.

    Raises:
        UserError: `folder` has no encoder, or the weights are not those that the card describes.
        PluginError: the method that built it is not installed.
    """
    card = read_card(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has a {CARD} but no {WEIGHTS}. Run the pretrain stage again.")
    if sha256(folder / WEIGHTS) != card.weights_sha256:
        raise UserError(f"{folder / WEIGHTS} is not the file that {CARD} describes. Run the pretrain stage again.")
    method = registry.load(card.method)
    params = parse(method.Params, card.params, str(folder / CARD), "params")
    with torch.random.fork_rng(devices=[]):  # building draws initial weights that are overwritten at once
        encoder = method.build_encoder(params, card.encoder, Data(card.image_size, card.mean, card.std, images=0))
    try:
        encoder.load_state_dict(read_tensors(folder / WEIGHTS, "pretrain"))
    except RuntimeError as error:  # names or shapes
        raise UserError(
            f"{folder / WEIGHTS} does not fit the encoder of {CARD} ({error}). Run the pretrain stage again."
        ) from error
    encoder.image_size = encoder.image_size or card.image_size  # an encoder of a method of its own may not state it
    return encoder.eval(), card


def snapshots(folder: Path) -> Iterator[tuple[int, Encoder]]:
    """Images seen and the encoder at each snapshot of its training; always the same network, with other weights.

    Raises:
        UserError: a file is missing or damaged.
        PluginError: the method that built the encoder is not installed.
    """
    encoder, card = load(folder)
    for step in card.snapshots:
        encoder.load_state_dict(read_tensors(folder / snapshot_name(step), "pretrain"))
        yield step * card.batch_size, encoder


def read_tensors(path: Path, stage: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, which holds no code; `stage` is the name of the stage that writes it.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}). Run the {stage} stage again.") from error
