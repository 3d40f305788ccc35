"""The controls, trained and evaluated like any method: the floor and the ceiling of a budget."""

import torch.nn.functional as F
from torch import nn

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, PretextMethod
from pretextbench.params import MethodParams, OptimizerParams
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
