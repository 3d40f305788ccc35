"""Context encoder: what is missing here? (Pathak 2016, CVPR, https://arxiv.org/abs/1604.07379)

A part of the image is cut out and filled with the data set's mean colour; encoder and generator F predict it. With M
the mask of the missing part (1 = missing; the lesson's B is 1 - M), D a discriminator, and images on the paper's scale
of -1 to 1 (equations are numbered as in the lesson):

    L_rec = mean over missing values of w (x - F((1 - M) x))^2                         equation 3, w = 10 in the overlap
    L_adv = max_D  E[log D(x) + log(1 - D(x^))]                                         equation 4
    L     = (1 - lambda) L_rec + lambda L_adv,  lambda = 0.001                          equation 5

Equation 3 is written as a sum; the reference code takes the mean, without which 0.999 : 0.001 would make the second
term vanish. Equation 4 is two updates, each with its own forward pass: the main player minimises -log D(x^), which does
not saturate, and then the discriminator minimises -[log D(x) + log(1 - D(x^))] with x^ detached. x^ is the predicted
centre for a central hole, and else the image with its missing part predicted (the reference code shows D all that F
draws; but equation 3 says nothing of the visible part, so F's drawing of it is unlike any image).

The encoder's batch norms learn their statistics on images with holes and meet whole ones downstream. On CIFAR-10 (250
steps of 128), statistics taken anew from whole images gave 38.7 % where these give 37.5 % (linear, last stage), and
35.2 % for 34.2 % (k-NN): a point, about the noise of 2000 test images. They are left as they are.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from pretext_context_encoder import masks
from pretext_context_encoder.networks import Discriminator, Generator, accuracy, adversarial, psnr, reconstruction
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, Loss, Picture, Player, PretextMethod
from pretextbench.params import MethodParams, OptimizerParams, Positive
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, augmented

MAIN, DISCRIMINATOR = "main", "discriminator"
OVERLAP = 7 / 128  # of the side: the paper's 7 pixels of 128


class Params(MethodParams):
    """The paper: 227 px, Adam with beta_1 = 0.5, batch 64; a learning rate ten times lower for the discriminator."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=2e-3, betas=(0.5, 0.999), weight_decay=0, warmup=0.1)
    discriminator_optimizer: OptimizerParams = Field(
        OptimizerParams(name="adamw", lr=2e-4, betas=(0.5, 0.999), weight_decay=0, warmup=0.1),
        description="of the discriminator; decay 0 makes AdamW Adam (reference code: 2e-4, the main player's is 2e-3)",
    )
    missing: Literal["central", "blocks", "region"] = Field(
        "blocks", description="central square, random blocks, or random irregular regions (paper, for features: region)"
    )
    block: float = Field(0.4, gt=0, le=0.75, description="side of a block, share of the image's; at least a pixel")
    blocks: int = Field(5, ge=1, le=64, description="blocks per image: 5 cover about half of it (paper: a quarter)")
    cells: int = Field(8, ge=2, le=64, description="noise cells along a side: fewer make larger regions (code: 7.7)")
    bank: Positive = Field(256, description="masks in the bank; each is used in 8 symmetries and at every shift")
    overlap: float | None = Field(
        None, ge=0, le=0.1, description="width of the band, share of the side; null = 7/128 if central (paper), else 0"
    )
    overlap_weight: float = Field(10.0, ge=1, description="of squared errors in the band (paper: 10)")
    adversarial: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="lambda; the other loss weighs 1 - lambda; 0 = no discriminator (paper: 0.001)",
    )
    discriminator_width: Positive = Field(
        16, description="channels of its first convolution (paper: 64, as its encoder)"
    )
    crop_min: float = Field(0.5, gt=0, le=1, description="smallest share of the area in a crop (code: 128 of 350 px)")


class ContextEncoder(PretextMethod[Params]):
    """The encoder, a generator on its last map, and a discriminator unless the adversarial weight is 0."""

    api_version = 1
    reference = "Pathak 2016, Context encoders: feature learning by inpainting, arXiv:1604.07379"
    search = {"crop_min": (0.2, 0.5), "blocks": (3, 5)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        *_, (channels, side) = encoder.shapes.values()  # of the last map
        self.generator = Generator(channels, side, data.image_size)
        seen = data.image_size // 2 if params.missing == "central" else data.image_size
        self.discriminator = Discriminator(params.discriminator_width, seen) if params.adversarial else None
        self.register_buffer("colour", torch.tensor(data.mean).view(3, 1, 1), persistent=False)
        if params.missing == "region":
            self.register_buffer("bank", _bank(data), persistent=False)

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: crop and flip. The hole is the task, not an augmentation."""
        return augmented(RandomResizedCrop(scale=(params.crop_min, 1.0)), HorizontalFlip())

    @classmethod
    def derive(cls, params: Params, images: Iterator[Tensor], image_size: int) -> dict[str, Tensor]:
        """The bank of irregular shapes, bool (M, H, H), which looks at no image; nothing for the other kinds."""
        if params.missing != "region":
            return {}
        return {"masks": masks.bank(params.bank, image_size, params.cells)}

    def players(self) -> tuple[Player, ...]:
        """Encoder and generator, then the discriminator with an optimizer of its own."""
        ours = (*self.encoder.parameters(), *self.generator.parameters())
        main = Player(MAIN, tuple(p for p in ours if p.requires_grad), self.params.optimizer)
        if self.discriminator is None:
            return (main,)
        return main, Player(DISCRIMINATOR, tuple(self.discriminator.parameters()), self.params.discriminator_optimizer)

    def draw(self, images: int) -> Tensor:
        """What is missing, one draw per image: bool (B, 1, H, H)."""
        p, size, device = self.params, self.data.image_size, self.get_buffer("colour").device
        if p.missing == "central":
            return masks.central(images, size, device)
        if p.missing == "blocks":
            return masks.blocks(images, size, p.block, p.blocks, device)
        return masks.regions(self.get_buffer("bank"), images)

    def region(self, batch: Batch) -> Tensor:
        """Draw what is missing once for the turns of both players: they see the same holes, as in the paper."""
        if not hasattr(batch.scratch, "region"):
            batch.scratch.region = self.draw(len(batch.views[0]))
        region: Tensor = batch.scratch.region
        return region

    def split(self, region: Tensor) -> tuple[Tensor, Tensor]:
        """The hole that the encoder does not see, and the band around it that it sees and predicts."""
        share = self.params.overlap
        if share is None:
            share = OVERLAP if self.params.missing == "central" else 0.0
        return masks.overlap(region, max(1, round(share * region.shape[-1])) if share else 0)

    def masked(self, x: Tensor, hole: Tensor) -> Tensor:
        """The image (B, 3, H, W) in [0, 1] with the mean colour in its hole: all that the encoder gets to see."""
        return torch.where(hole, self.get_buffer("colour"), x)

    def generate(self, masked: Tensor) -> Tensor:
        """F: masked images in [0, 1] to whole images in [-1, 1], both (B, 3, H, W)."""
        *_, last = self.encoder.stages(masked).values()
        image: Tensor = self.generator(last)
        return image

    def judged(self, fake: Tensor, x: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator sees, generated and real, in [-1, 1]: the centre, or the image with its part."""
        if self.params.missing != "central":
            return torch.where(region, fake, x), x
        first, side = x.shape[-1] // 4, x.shape[-1] // 2
        centre = (..., slice(first, first + side), slice(first, first + side))
        return fake[centre], x[centre]

    def loss(self, batch: Batch) -> Loss:
        """Equation 5 for the main player, minus equation 4 for the discriminator."""
        x, region = batch.views[0], self.region(batch)
        hole, band = self.split(region)
        if batch.player == DISCRIMINATOR:
            with torch.no_grad():
                fake = self.generate(self.masked(x, hole))
            return self._discriminator_loss(*self.judged(fake, 2 * x - 1, region))
        fake = self.generate(self.masked(x, hole))
        with torch.autocast(x.device.type, enabled=False):
            rec = reconstruction(fake, 2 * x - 1, hole, band, self.params.overlap_weight)
        if self.discriminator is None:
            return Loss(rec, {"reconstruction": rec})
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        logits = functional_call(self.discriminator, frozen, (self.judged(fake, 2 * x - 1, region)[0],))
        fooling = F.softplus(-logits).mean()  # -log D(x^)
        share = self.params.adversarial
        return Loss((1 - share) * rec + share * fooling, {"reconstruction": rec, "fooling": fooling})

    def _discriminator_loss(self, fake: Tensor, real: Tensor) -> Loss:
        assert self.discriminator is not None, "it has a turn only where it exists"
        true, false = self.discriminator(real), self.discriminator(fake)  # apart: own norm statistics
        return Loss(-adversarial(true, false), {"discriminator_accuracy": accuracy(true, false)})

    def show(self, batch: Batch) -> list[Picture]:
        """What the encoder sees, what is predicted into the missing part, and what was there."""
        x = batch.views[0]
        region = self.draw(len(x))
        masked = self.masked(x, self.split(region)[0])
        filled = torch.where(region, (self.generate(masked) + 1) / 2, x)
        return [
            Picture(
                f"context encoder, {self.params.missing}",
                ("masked", "filled", "true"),
                torch.stack([masked, filled, x], 1),
            )
        ]

    def health(self, batch: Batch) -> dict[str, float]:
        """Errors in the hole on held-out images, [0, 1] scale, beside those of the mean colour; D's accuracy.

        `visible_l2` is left out where nothing is visible: blocks may cover every image whole.
        """
        x = batch.views[0]
        region = self.draw(len(x))
        hole, _ = self.split(region)
        masked = self.masked(x, hole)
        fake = self.generate(masked)
        error, baseline = ((y - x).movedim(1, -1)[hole[:, 0]] for y in ((fake + 1) / 2, masked))  # (missing, 3)
        seen = ((fake + 1) / 2 - x).movedim(1, -1)[~region[:, 0]]
        measures = {
            "hole_l1": float(error.abs().mean()),
            "hole_l2": float(error.square().mean()),
            "hole_psnr": psnr(float(error.square().mean())),
            "mean_fill_l1": float(baseline.abs().mean()),
            "mean_fill_l2": float(baseline.square().mean()),
            "mean_fill_psnr": psnr(float(baseline.square().mean())),
        }
        if len(seen):
            measures["visible_l2"] = float(seen.square().mean())
        if self.discriminator is not None:
            generated, real = (self.discriminator(y) for y in self.judged(fake, 2 * x - 1, region))
            measures["discriminator_accuracy"] = float(accuracy(real, generated))
        return measures

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Nothing visible, a hole filled no better than with the mean colour, a copy of the rest, a D that wins."""
        symptoms = []
        if "visible_l2" not in health:
            symptoms.append("nothing is visible: the blocks cover every image whole; lower block or blocks")
        error, baseline = health["hole_l2"], health["mean_fill_l2"]
        if error >= 0.95 * baseline:
            symptoms.append(
                f"mean colour: the squared error in the hole, {error:.4f}, is no better than the mean colour's "
                f"({baseline:.4f}); train longer or cut out less"
            )
            if health.get("visible_l2", baseline) < 0.1 * baseline:
                symptoms.append("copying: what is visible is reproduced and the hole is not; the mask may be inverted")
        if health.get("discriminator_accuracy", 0.0) > 0.99:
            symptoms.append(
                f"the discriminator wins: it is right on {health['discriminator_accuracy']:.3f} of the images, so that "
                "the adversarial loss says little; lower discriminator_optimizer.lr or discriminator_width"
            )
        return symptoms


def _bank(data: Data) -> Tensor:
    if "masks" not in data.derived:
        raise UserError(
            "context-encoder with missing: region needs 'masks', the bank that the augment stage derives, and found "
            f"{sorted(data.derived) or 'nothing derived'}. Run that stage, or set missing to blocks or central."
        )
    return data.derived["masks"].bool()
