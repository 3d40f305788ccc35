"""DINO: a student learns from all crops what a slow copy of it, the teacher, says of the large ones (Caron 2021).

Large (global) and small (local) crops of every image go through encoder, head and a weight-normalised last layer of K
outputs. The teacher is a twin of the three whose weights are a moving average, and sees global crops alone. With its
outputs t, the student's s and a centre c (arXiv:2104.14294, equations 1 to 4):

    target      P_g = softmax((t_g - c) / teacher_temperature), for each global crop g; no gradient
    prediction  p_v = softmax(s_v / temperature), for every crop v
    loss        mean over g, over v != g and over images of  - sum_k P_g,k log p_v,k
    c           <- m c + (1 - m) mean over images and global crops of t        once, after every step
    teacher     <- l teacher + (1 - l) student        once, after every step; l rises from `momentum` to 1

The centre keeps one output from taking all images, and the low temperature the outputs from being uniform.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import BudgetShare, OptimizerParams
from pretextbench.parts import (
    MultiCropMethod,
    MultiCropParams,
    Prototypes,
    Twin,
    collapse,
    cosine_momentum,
    cross_view_entropy,
    dominant_prototype,
    encode,
    entropies,
    in_float32,
    mlp,
    pair_health,
    prototype_count,
    prototype_pictures,
    require_batch,
    require_images,
    same_for_all,
    uniform_predictions,
)

USUAL = 1024  # outputs


class Params(MultiCropParams):
    """Parameters of DINO; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=6e-3, weight_decay=4e-2, warmup=0.1)
    head_hidden: int = Field(512, ge=2, description="hidden units of the head (paper: 2048)")
    head_dim: int = Field(128, ge=2, description="of the vector before the last layer (paper: 256)")
    head_norm: bool = Field(True, description="batch norm in the head (paper: false)")
    prototypes: int | None = Field(
        None, description="outputs; null = 1024, or a quarter of the training images if that is less (paper: 65536)"
    )
    temperature: float = Field(0.1, ge=1e-3, le=1000, description="of the student (paper: 0.1)")
    teacher_start: float = Field(0.04, ge=1e-3, le=1000, description="teacher's temperature at first (paper: 0.04)")
    teacher_end: float = Field(0.07, ge=1e-3, le=1000, description="teacher's temperature later (paper: 0.04 to 0.07)")
    teacher_warmup: BudgetShare = Field(0.3, description="share of the budget from one to the other (paper: 30 of 100)")
    momentum: float = Field(0.99, ge=0, le=1, description="of the teacher, at the start; it ends at 1 (paper: 0.996)")
    centre_momentum: float = Field(0.9, ge=0, le=1, description="of the centre (paper: 0.9)")
    frozen: BudgetShare = Field(
        0.05, lt=1, description="share of the budget in which the last layer stands still (paper: 0.01)"
    )


@in_float32
def targets(outputs: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """What the teacher says, (..., K), by its outputs (..., K): centred, then sharpened."""
    return ((outputs - centre) / temperature).softmax(-1)


class DINO(MultiCropMethod[Params]):
    """The encoder, a head of three layers with GELU between them, a last layer, and the twin of the three."""

    api_version = 1
    reference = "Caron 2021, Emerging properties in self-supervised vision transformers, arXiv:2104.14294"
    search = {"momentum": (0.95, 0.99, 0.996), "teacher_end": (0.04, 0.07)}
    centre: Tensor  # (K,)

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("dino", data)
        hidden = (params.head_hidden, params.head_hidden)
        self.head = mlp(encoder.dim, *hidden, params.head_dim, norm=params.head_norm, gelu=True)
        count = prototype_count("dino", params.prototypes, USUAL, data.images)
        self.last = Prototypes(params.head_dim, count, params.frozen)
        self.teacher = Twin(encoder, self.head, self.last)
        self.register_buffer("centre", torch.zeros(len(self.last.weight)))

    def teacher_temperature(self, progress: float) -> float:
        """From `teacher_start` to `teacher_end` along a line, over the share `teacher_warmup` of the budget."""
        p = self.params
        done = min(1.0, progress / p.teacher_warmup) if p.teacher_warmup else 1.0
        return p.teacher_start + (p.teacher_end - p.teacher_start) * done

    def taught(self, views: tuple[Tensor, ...]) -> Tensor:
        """The teacher's outputs of the global crops, (G, B, K), in one pass."""
        count = self.params.global_views
        (outputs,) = encode(self.teacher, [torch.cat(views[:count])])
        grouped: Tensor = outputs.unflatten(0, (count, -1))
        return grouped

    def loss(self, batch: Batch) -> Loss:
        """The student's cross-entropies; the mean of the teacher's outputs is staged for the centre."""
        require_images("dino", len(batch.index))
        outputs = self.taught(batch.views)
        z = self.project(batch.views)
        scores = self.last(z)
        wanted = targets(outputs, self.centre, temperature=self.teacher_temperature(batch.progress))
        total = cross_view_entropy(wanted, scores, self.params.temperature)
        return Loss(total, staged={"centre": outputs.mean((0, 1))[None]})

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Move centre and teacher, once per optimizer step.

        The parts of a batch have one size, so the mean of their means is that of the batch.
        """
        self.centre.lerp_(staged["centre"].mean(0), 1 - self.params.centre_momentum)
        momentum = cosine_momentum(self.params.momentum, progress)
        self.teacher.follow(momentum, self.encoder, self.head, self.last)

    def show(self, batch: Batch) -> list[Picture]:
        """The crops of each image, the cosines of the first two, and the images of the teacher's outputs."""
        outputs = self.taught(batch.views)[0] - self.centre
        return [*super().show(batch), *prototype_pictures(batch.views[0], outputs)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the student, and the entropies of the teacher's targets and of their mean."""
        z1, z2, *_ = self.project(batch.views)
        wanted = targets(self.taught(batch.views)[0], self.centre, temperature=self.params.teacher_end)
        row, mean = entropies(wanted)
        return {**pair_health(z1, z2), "teacher_entropy": row, "teacher_use": mean}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the student; a teacher that says the same of every image: anything, all outputs alike, or one."""
        row, mean = health["teacher_entropy"], health["teacher_use"]
        advice = "lower optimizer.lr or `teacher_end`, or raise `momentum`"
        teacher = [*uniform_predictions(row), *same_for_all(row, mean), *dominant_prototype(row, mean)]
        return [*collapse(health, advice), *teacher]
