"""Rotation prediction: which way is up? (Gidaris, Singh, Komodakis 2018, https://arxiv.org/abs/1803.07728)

Every image enters the batch in all four rotations; a linear layer on the encoder says which. The loss is equation 3 of
the paper, the mean over images and rotations of the cross-entropy:

    loss = -(1 / 4B) sum_i sum_y log p_y(rot(x_i, 90 y degrees))            in nats; ln 4 = 1.386 is chance

Augment first, rotate last: a flip after the rotation turns 90 degrees into 270 and caps the accuracy at 75 %.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod
from pretextbench.params import MethodParams, OptimizerParams
from pretextbench.recipe import HorizontalFlip, PadCrop, Recipe, augmented

ANGLES = (0, 90, 180, 270)  # degrees, counter-clockwise
CHANCE = 1 / len(ANGLES)


class Params(MethodParams):
    """Parameters of rotation prediction. The paper: SGD 0.1, momentum 0.9, batch 128, 200 epochs of CIFAR-10."""

    optimizer: OptimizerParams = OptimizerParams(
        name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, warmup=0.1
    )
    padding: int = Field(4, ge=0, description="pixels of random shift before the rotation (paper: 4 at 32 px)")


def four_rotations(x: Tensor) -> Tensor:
    """(B, 3, H, H) -> (4B, 3, H, H): all images turned by 0, then by 90, 180, 270 degrees. Exact transposes."""
    return torch.cat([torch.rot90(x, turns, (-2, -1)) for turns in range(len(ANGLES))])


def labels(images: int, device: torch.device) -> Tensor:
    """The rotation of each of the 4B images that `four_rotations` returns: (4B,)."""
    return torch.arange(len(ANGLES), device=device).repeat_interleave(images)


class Rotation(PretextMethod[Params]):
    """The encoder, and a linear layer on its pooled vector with four outputs."""

    api_version = 1
    reference = "Gidaris 2018, Unsupervised representation learning by predicting image rotations, arXiv:1803.07728"
    search = {"padding": (2, 4)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, len(ANGLES))

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: shift and flip. The rotation is the task, not an augmentation."""
        shift = (PadCrop(padding=params.padding),) if params.padding else ()
        return augmented(*shift, HorizontalFlip())

    def logits(self, x: Tensor) -> Tensor:
        """(B, 3, H, H) -> (4B, 4), float32."""
        turned = four_rotations(x).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.encoder(turned)).float()
        return logits

    def loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over the four rotations of every image, in nats."""
        x = batch.views[0]
        logits, truth = self.logits(x), labels(len(x), x.device)
        accuracy = (logits.argmax(1) == truth).float().mean()
        return Loss(F.cross_entropy(logits, truth), {"accuracy": accuracy})

    def show(self, batch: Batch) -> list[Picture]:
        """The four rotations of each image and the angle that the network says."""
        x = batch.views[0]
        predicted = self.logits(x).argmax(1).view(len(ANGLES), len(x)).T.tolist()  # (B, 4)
        images = four_rotations(x).unflatten(0, (len(ANGLES), len(x))).transpose(0, 1)
        captions = tuple(tuple(f"says {ANGLES[angle]}" for angle in row) for row in predicted)
        return [Picture("four rotations", tuple(f"{angle} deg" for angle in ANGLES), images, captions)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Accuracy and loss on held-out images, and chance."""
        x = batch.views[0]
        logits, truth = self.logits(x), labels(len(x), x.device)
        return {
            "rotation_accuracy": float((logits.argmax(1) == truth).float().mean()),
            "rotation_chance": CHANCE,
            "rotation_loss": float(F.cross_entropy(logits, truth)),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Chance accuracy: the network does not see the difference."""
        if health["rotation_accuracy"] > CHANCE + 0.05:
            return []
        return [
            f"rotation accuracy {health['rotation_accuracy']:.2f} is at chance ({CHANCE}): the images may have no up "
            "and down (textures, microscopy, aerial views), or the learning rate is wrong"
        ]
