"""The contract between the host and a pretext method.

The host owns encoder, augmentation, optimizer step, schedule, budget, seeding, device, logging and checkpoints. A
method says what to minimise. One loop trains them all; this is how each need is carried without a special case in it:

| need | carried by |
|---|---|
| one view and a target taken from the input | `recipe` with one view; `loss` corrupts `batch.views[0]` itself |
| k discrete transforms of one image | `loss` makes them from the view: augment first, transform last |
| two or more views, multi-crop | `recipe` lists the views, each with its own size and number of draws |
| an EMA twin and per-step hooks | the twin is a submodule without gradients; `after_step` moves it |
| state that must be checkpointed | registered buffers: `state_dict()` is the checkpoint, nothing else is asked |
| buffers that data change (queues, centres) | `Loss.staged`: the host joins it and hands it to `after_step` |
| two players with their own optimizers | `players()` names them; each gets its turn, `batch.player` says whose |
| draws that the players of a step share | `batch.scratch`, of one part of one batch |
| a decoder or head that sees feature maps | `self.encoder.stages(x)`; heads are sized from `encoder.shapes` |
| its own backbone | override `build_encoder` |
| tokens of patches, some of them dropped | `Requires(encoder=TokenEncoder)`: its `embed` and `encode` |
| parameters that must not be decayed | a method `no_weight_decay` of their module, which names them |
| parameters whose learning rate stays at its peak | a method `constant_rate` of their module, which names them |
| parameters that stand still at first | a method `no_step(progress)` of their module, which names them |
| a kind of encoder, a least image size, colour | `requires`: the host refuses a pair that cannot work |
| parameters worth tuning on each data set | `search`: values of two at most; learning rate and batch are the host's |
| statistics of the data set before training | `derive`, in the augment stage; its tensors are `data.derived` |
| communication across processes | `distributed.gather` and `mean`, with gradients; identity in one process |
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import torch
from torch import Tensor, nn

from pretextbench.base.picture import Picture
from pretextbench.encoder import Encoder, build
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, MethodParams, OptimizerParams
from pretextbench.recipe import Recipe

__all__ = ["API_VERSION", "Batch", "Data", "Loss", "Picture", "Player", "PretextMethod", "Requires"]

API_VERSION = 1  # raised only when a plugin written for the old contract would be wrong under the new one
P = TypeVar("P", bound=MethodParams)


@dataclass(frozen=True)
class Loss:
    """The loss of one turn, and numbers that become columns of the history."""

    total: Tensor  # scalar, carries the gradient
    parts: Mapping[str, Tensor] = field(default_factory=dict)  # scalars, detached by the host
    staged: Mapping[str, Tensor] = field(default_factory=dict)  # (rows, ...) for `after_step`, detached by the host


@dataclass(frozen=True)
class Batch:
    """The input of one step. It has no labels, except for the supervised control."""

    views: tuple[Tensor, ...]  # each (B, 3, H, W), float32 in [0, 1], in the order of the recipe
    index: Tensor  # (B,) int64: which training images these are
    progress: float = 0.0  # of the budget, 0 to 1: for schedules
    player: str = "main"  # whose turn it is
    labels: Tensor | None = None  # (B,) int64, None for every pretext method
    scratch: SimpleNamespace = field(default_factory=SimpleNamespace)  # shared by the players' turns on these images


@dataclass(frozen=True)
class Player:
    """Parameters that move together under one optimizer. Most methods have one player, adversarial ones two."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    optimizer: OptimizerParams


@dataclass(frozen=True)
class Data:
    """Facts about the data set for the constructor of a method; never labels."""

    image_size: int  # pixels
    mean: tuple[float, ...]  # per channel, on the [0, 1] scale
    std: tuple[float, ...]
    images: int  # in the training split
    derived: Mapping[str, Tensor] = field(default_factory=dict)  # what `derive` returned
    classes: int = 0  # for the supervised control only; 0 for every pretext method
    batch: int = 0  # images per optimizer step, of all processes together; 0: not known
    part: int = 0  # of them `loss` gets at a time: those of a process, in `accumulate` parts; 0: not known
    accumulate: int = 1  # parts of a step, whose losses are averaged
    budget: int = 0  # images seen in the whole training; 0: not known


@dataclass(frozen=True)
class Requires:
    """Requirements of a method. A combination that does not meet them is refused before anything is trained."""

    encoder: type[Encoder] = Encoder  # class that `build_encoder` must return
    image_size: int = 1  # smallest side of the images, pixels
    colour: bool = False  # whether grey images are of no use

    def check(self, name: str, image_size: int, encoder: Encoder | None = None, colour: bool = True) -> None:
        """Refuse a pair of method `name` and encoder or data that cannot work; an encoder of None is not known yet.

        Raises:
            UserError: the images are too small or all grey, or the encoder is of another kind.
        """
        otherwise = f"or take {name!r} out of compare.methods in params.yaml."
        if image_size < self.image_size:
            raise UserError(
                f"Method {name!r} needs images of at least {self.image_size} px, found {image_size} px. Raise "
                f"prepare.image_size, {otherwise}"
            )
        if encoder is not None and not isinstance(encoder, self.encoder):
            such = f", such as {self.encoder.example}" if self.encoder.example else ""
            raise UserError(
                f"Method {name!r} needs an encoder of kind {self.encoder.__name__}, found {type(encoder).__name__}. "
                f"Set encoder.name to one of that kind{such}, {otherwise}"
            )
        if self.colour and not colour:
            raise UserError(
                f"Method {name!r} needs images in colour, and all training images are grey. Use images in colour, "
                f"{otherwise}"
            )


class PretextMethod(nn.Module, Generic[P]):
    """One way to learn from unlabelled images: given an encoder, say what to minimise.

    Draw random numbers from torch's global generator: the host seeds it before every step, from the run's seed and the
    step's number, so that a resumed run draws what an uninterrupted one would have drawn.
    """

    api_version: ClassVar[int]  # = 1; a plugin states it, there is no default
    Params: ClassVar[type[MethodParams]] = MethodParams
    reference: ClassVar[str] = ""  # author, year, title, where to find it
    requires: ClassVar[Requires] = Requires()  # of encoder and images; the default takes any
    search: ClassVar[Mapping[str, Sequence[Any]]] = {}  # values that the stage `tune` tries, of two parameters at most
    uses_weights: ClassVar[bool] = (
        True  # whether the encoder starts from encoder.weights of params.yaml, if there are any
    )
    uses_labels: ClassVar[bool] = False  # the registry refuses it to anyone but the library's own control

    def __init_subclass__(cls) -> None:
        """Take `Params` from `PretextMethod[Params]`, or a class made of it, in the bases: no need to state it."""
        super().__init_subclass__()
        for base in vars(cls).get("__orig_bases__", ()):
            (own,) = get_args(base) or (None,)
            generic = get_origin(base)
            method = isinstance(generic, type) and issubclass(generic, PretextMethod)
            if method and isinstance(own, type) and "Params" not in vars(cls):
                cls.Params = own

    def __init__(self, params: P, encoder: Encoder, data: Data) -> None:
        super().__init__()
        self.params, self.encoder, self.data = params, encoder, data
        encoder.image_size = encoder.image_size or data.image_size

    @classmethod
    def recipe(cls, params: P, image_size: int) -> Recipe:
        """The augmentation, as data: which views, of which operations. Default: the image as it is, once."""
        return Recipe()

    @classmethod
    def derive(cls, params: P, images: Iterator[Tensor], image_size: int) -> dict[str, Tensor]:
        """Measure the training images before training; `images` yields (B, 3, H, W) in [0, 1]."""
        return {}

    @classmethod
    def build_encoder(cls, params: P, encoder: EncoderParams, data: Data) -> Encoder:
        """The shared backbone. Override only for a method that cannot use it."""
        return build(encoder, data.image_size, data.mean, data.std)

    def loss(self, batch: Batch) -> Loss:
        """The loss of this batch, for `batch.player`."""
        raise NotImplementedError

    def players(self) -> tuple[Player, ...]:
        """The players, in the order of their turns. Default: one player that owns every trainable parameter."""
        trainable = tuple(p for p in self.parameters() if p.requires_grad)
        return (Player("main", trainable, self.params.optimizer),) if trainable else ()

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Called once after every optimizer step, without gradients: move twins, queues, temperatures.

        `staged` holds what the calls of `loss` in this step returned in `Loss.staged`, by name: the rows of all
        processes, turns and parts of the batch, joined along the first dimension in this order. It is equal on all
        processes, so a buffer that changes here, by `staged` and the weights alone, stays equal too.
        """

    def show(self, batch: Batch) -> list[Picture]:
        """Pictures of what the method does to a batch (evaluation mode, no gradients)."""
        return [Picture("views", tuple(f"view {i + 1}" for i in range(len(batch.views))), torch.stack(batch.views, 1))]

    def health(self, batch: Batch) -> dict[str, float]:
        """Signs of life on held-out images (evaluation mode, no gradients): measures by name."""
        return {}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Warnings in words, from the numbers of `health`; empty when all is well."""
        return []

    def forward(
        self,
        views: tuple[Tensor, ...],
        index: Tensor,
        progress: float,
        player: str,
        labels: Tensor | None,
        scratch: SimpleNamespace,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Call `loss` where the hooks of torch (DDP, autocast) see it; returns total, parts and staged as tensors.

        The scratch is no container that DDP or Fabric would copy: all turns get the same object.
        """
        loss = self.loss(Batch(views, index, progress, player, labels, scratch))
        return loss.total, dict(loss.parts), {name: rows.detach() for name, rows in loss.staged.items()}
