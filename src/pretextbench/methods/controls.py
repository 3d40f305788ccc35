"""The controls, trained and evaluated like any method: the floor and the ceiling of a budget."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, PretextMethod
from pretextbench.params import EncoderParams, MethodParams, OptimizerParams
from pretextbench.recipe import HorizontalFlip, PadCrop, Recipe, augmented


class Random(PretextMethod[MethodParams]):
    """The encoder as initialised: the score that training must beat. It has no player, so the loop takes no step."""

    api_version = 1
    reference = "the control every comparison needs; strong on small images (Saxe 2011)"
    uses_weights = False

    def players(self) -> tuple[()]:
        """No player: nothing is trained."""
        return ()


class Untouched(Random):
    """The encoder as it comes: start weights that nothing has changed. The score that continued training must beat."""

    reference = "the control for 'does training on these images help at all?'"
    uses_weights = True


SIDE = 8  # of a thumbnail, pixels; each is the mean of an area of the image


def thumbnails(images: Tensor) -> Tensor:
    """(B, 3, H, W) to area means (B, 3, 8, 8): adaptive pooling, in operations that every format of a network has."""
    return _means(_means(images, 2), 3)


def _means(x: Tensor, axis: int) -> Tensor:
    """Means over 8 areas along an axis, which overlap where its size does not divide by 8; by running sums."""
    number, size = torch.arange(SIDE, device=x.device), x.shape[axis]
    first, end = number * size // SIDE, ((number + 1) * size + SIDE - 1) // SIDE
    sums = F.pad(x.cumsum(axis), (1, 0) if axis == 3 else (0, 0, 1, 0))
    shape = (SIDE, 1) if axis == 2 else (SIDE,)
    return (sums.index_select(axis, end) - sums.index_select(axis, first)) / (end - first).view(shape)


class Thumbnail(Encoder):
    """Images (B, 3, H, W) in [0, 1] to thumbnails of 8 x 8 x 3 numbers, minus their mean over the training images.

    Its one stage is a map of a single place with 192 channels, so that every layer, probe and format takes it as it
    takes any other. It has no parameters and does no multiply-adds.
    """

    def __init__(self, image_size: int, mean: Tensor | None = None) -> None:
        super().__init__((0.0,) * 3, (1.0,) * 3, image_size)
        self.dim = 3 * SIDE**2
        self.channels = {"pixels": self.dim}
        self.register_buffer("mean_thumbnail", torch.zeros(3, SIDE, SIDE) if mean is None else mean.clone())

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 192, 1, 1)."""
        return {"pixels": (thumbnails(x) - self.get_buffer("mean_thumbnail")).flatten(1)[..., None, None]}


class Pixels(Random):
    """A thumbnail of the image instead of an encoder: the score of coarse colours, which training must beat too.

    On some images it is above an untrained encoder, so that being above `random` alone is no sign of learning.
    """

    reference = "the control for 'is there more in the features than coarse colours?'"

    @classmethod
    def derive(cls, params: MethodParams, images: Iterator[Tensor], image_size: int) -> dict[str, Tensor]:
        """The mean thumbnail."""
        total, count = torch.zeros(3, SIDE, SIDE, dtype=torch.float64), 0
        for batch in images:
            total += thumbnails(batch).double().sum(0).cpu()
            count += len(batch)
        return {"thumbnail": (total / max(count, 1)).float()}

    @classmethod
    def build_encoder(cls, params: MethodParams, encoder: EncoderParams, data: Data) -> Encoder:
        """The thumbnail; the encoder that params.yaml asks for plays no part."""
        return Thumbnail(data.image_size, data.derived.get("thumbnail"))


class SupervisedParams(MethodParams):
    """Parameters of supervised training from scratch."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=4e-3, weight_decay=0.02, warmup=0.15)


class Supervised(PretextMethod[SupervisedParams]):
    """Cross-entropy on all labels of the training split, same encoder, same budget: the score with labels.

    The only method that sees labels; the registry refuses them to anyone else. Unlabelled images (-1) weigh nothing.
    """

    api_version = 1
    Params = SupervisedParams
    reference = "the control for 'does pretraining help at all at this budget?'"
    uses_labels = True

    def __init__(self, params: SupervisedParams, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, data.classes)

    @classmethod
    def recipe(cls, params: SupervisedParams, image_size: int) -> Recipe:
        """Shift and flip: the usual recipe for small images."""
        return augmented(PadCrop(padding=max(1, image_size // 8)), HorizontalFlip())

    def loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over the labelled images of the batch."""
        assert batch.labels is not None, "the host gives labels to a method that uses_labels"
        logits = self.head(self.encoder(batch.views[0])).float()  # (B, classes)
        known = (batch.labels >= 0).sum().clamp_min(1)  # a batch may hold no label at all
        total = F.cross_entropy(logits, batch.labels, ignore_index=-1, reduction="sum") / known
        return Loss(total, {"accuracy": (logits.argmax(1) == batch.labels).sum() / known})
