"""The parameters: params.yaml as validated objects. Imports nothing heavy, so that checking takes milliseconds."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.base.section import (
    NAME,
    BudgetShare,
    Count,
    Fraction,
    ImagesSeen,
    LabelBudgets,
    MethodName,
    OneLine,
    Positive,
    RandomSeed,
    Section,
    SourceName,
    distinct,
    parse,
)
from pretextbench.base.source_params import Prepare, Source, Synthetic, Transfer
from pretextbench.base.training_params import Pretrain, Tune, Watch
from pretextbench.base.yaml_file import read_text, read_yaml

__all__ = [
    "NAME", "Augment", "BudgetShare", "Compare", "EncoderParams", "Evaluate", "Fraction", "MethodName", "MethodParams",
    "OptimizerParams", "Params", "Positive", "Prepare", "Pretrain", "Section", "Source", "SourceName", "Synthetic",
    "Transfer", "Watch", "load",
]  # fmt: skip


class Augment(Section):
    """The contact sheet and the evaluation views; the recipes themselves belong to the methods."""

    sheet_images: int = Field(8, ge=1, le=64, description="images on the contact sheet")
    sheet_draws: int = Field(6, ge=1, le=32, description="draws of each image on the contact sheet")
    derive_images: Positive = Field(10_000, description="images a method may use to measure what it needs beforehand")
    view_images: Positive = Field(
        250,
        description="test images that are corrupted for the robustness curves, and validation images for alignment",
    )
    seed: RandomSeed = Field(0, description="of the contact sheet, the views and what the methods derive")


class OptimizerParams(Section):
    """The update rule of one player; the learning rate warms up linearly, then follows a cosine to zero."""

    name: Literal["sgd", "adamw", "lars"] = Field("adamw", description="update rule")
    lr: float = Field(1e-3, gt=0, le=1000, description="peak learning rate, for the batch size in use")
    weight_decay: float = Field(1e-4, ge=0, le=1000, description="not applied to biases and normalisation")
    weight_decay_end: float | None = Field(
        None, ge=0, le=1000, description="decay at the end of the budget, along a cosine; null = weight_decay"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd and lars")
    nesterov: bool = Field(False, description="Nesterov's momentum, of sgd with a momentum above 0")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="of adamw"
    )
    warmup: BudgetShare = Field(0.1, description="share of the steps spent warming up")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.name == "sgd" and not self.momentum:
            raise ValueError("`nesterov: true` needs a `momentum` above 0, found 0")
        return self


class Evaluate(Section):
    """The protocol, equal for every encoder."""

    operational: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    batch_size: Positive = Field(128, description="images per forward pass: more are slower on a CPU")
    knn_k: Positive = Field(20, description="neighbours that vote")
    knn_temperature: float = Field(0.07, ge=1e-3, le=1000, description="of the votes' weights exp(similarity / T)")
    linear_l2: Annotated[tuple[Annotated[float, Field(gt=0, le=1e6)], ...], AfterValidator(distinct)] = Field(
        (1e-5, 1e-4, 1e-3, 1e-2, 1e-1), min_length=1, description="grid of L2 penalties, chosen on validation"
    )
    linear_steps: Count = Field(200, description="L-BFGS iterations at most")
    budgets: LabelBudgets = Field(
        ("5", "20", "1%", "10%"),
        description="few-label budgets: n per class, or a share of train; 100% is always there",
    )
    redraws: int = Field(3, ge=1, le=1000, description="random subsets per label budget, the same for every method")
    finetune: LabelBudgets = Field((), description="label budgets at which the whole network is trained too: '100%'")
    scratch: LabelBudgets = Field(
        (), description="label budgets at which the network of the control `random` is trained from scratch: '10%'"
    )
    finetune_images: Positive = Field(
        20_000, description="images seen by each fine-tuning and training from scratch, at most"
    )
    finetune_lr: float = Field(1e-3, gt=0, le=1000, description="peak learning rate of the fine-tuning, AdamW")
    map_images: int = Field(
        300, ge=0, le=20_000, description="validation images on the maps of the features; 0 = no maps"
    )
    seed: RandomSeed = Field(0, description="of the subsets, the fine-tuning and the maps")


Control = Literal["random", "pixels", "untouched", "supervised"]


class Compare(Section):
    """The rows of the comparison and the statistics of their differences."""

    name: OneLine | None = Field(None, description="of the MLflow experiment")
    methods: Annotated[tuple[MethodName, ...], AfterValidator(distinct)] = Field(
        ("simclr", "colorization"), description="pretext methods, by entry-point name"
    )
    controls: Annotated[tuple[MethodName, ...], AfterValidator(distinct)] = Field(
        ("random", "pixels", "supervised"), description="rows that are not pretext methods"
    )
    references: Annotated[tuple[MethodName, ...], AfterValidator(distinct)] = Field(
        (), description="encoders that are evaluated as they are, by their name under `references`"
    )
    seeds: Annotated[tuple[RandomSeed, ...], AfterValidator(distinct)] = Field(
        (0,), min_length=1, description="one run per method and seed"
    )
    budgets: Annotated[tuple[ImagesSeen, ...], AfterValidator(distinct)] = Field(
        (), max_length=10, description="in images seen, besides that of `pretrain`: every method is compared at each"
    )
    allow_unequal_budgets: bool = Field(False, description="rank encoders that were pretrained on different budgets")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals; 1 - confidence is the test level")
    pairs: Literal["asked", "all"] = Field(
        "asked", description="tests: the leader against every method, methods against controls; or all pairs"
    )
    resamples: Count = Field(10_000, description="bootstrap resamples")
    seed: RandomSeed = Field(0, description="of the bootstrap")

    @model_validator(mode="after")
    def _at_least_one_row(self) -> Self:
        if not self.methods + self.controls:
            raise ValueError("`methods` and `controls` are both empty: there is nothing to compare")
        if both := set(self.references) & {*self.methods, *self.controls}:
            raise ValueError(f"`references` has a name that a method or control has: {', '.join(sorted(both))}")
        return self


class Params(Section):
    """All of params.yaml. Sections left out take their defaults."""

    prepare: Prepare = Field(default_factory=Prepare)
    augment: Augment = Field(default_factory=Augment)
    encoder: EncoderParams = Field(default_factory=EncoderParams)
    pretrain: Pretrain = Field(default_factory=Pretrain)
    watch: Watch = Field(default_factory=Watch)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    transfer: Transfer = Field(default_factory=Transfer)
    tune: Tune = Field(default_factory=Tune)
    compare: Compare = Field(default_factory=Compare)
    methods: dict[MethodName, dict[str, Any] | None] = Field(
        default_factory=dict, description="parameters of the methods; each method checks its own"
    )
    references: dict[MethodName, EncoderParams] = Field(
        default_factory=dict, description="encoders that are evaluated as they are, each as the section `encoder`"
    )

    @model_validator(mode="after")
    def _untouched_has_weights(self) -> Self:
        if "untouched" in self.compare.controls and not self.encoder.weights:
            raise ValueError(
                "compare.controls has `untouched`, the start weights as they are, and encoder.weights is null. "
                "Name weights there, or take `untouched` out"
            )
        return self

    @model_validator(mode="after")
    def _references_are_described(self) -> Self:
        if missing := [name for name in self.compare.references if name not in self.references]:
            raise ValueError(
                f"compare.references names {', '.join(missing)}, which the section `references` does not have. "
                f"Add it there, for example `references: {{{missing[0]}: {{name: resnet18}}}}`"
            )
        return self

    @model_validator(mode="after")
    def _budgets_are_others(self) -> Self:
        budgets, given = self.compare.budgets, self.pretrain
        if budgets and given.multiply_adds:
            raise ValueError(
                f"compare.budgets are images seen, found {list(budgets)}, and pretrain.multiply_adds is set. Give the "
                "budget as pretrain.images or pretrain.epochs, or set `compare.budgets: []`"
            )
        if given.images in budgets:
            raise ValueError(f"compare.budgets has {given.images}, the budget of pretrain.images. Take it out there")
        return self

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_sections(cls, raw: Any) -> Any:
        return {k: v for k, v in raw.items() if v is not None} if isinstance(raw, dict) else raw


class MethodParams(Section):
    """Parameters of every method; a plugin subclasses it to add its own parameters and defaults."""

    batch_size: Positive | None = Field(None, description="images per step; null = pretrain.batch_size")
    optimizer: OptimizerParams = Field(default_factory=OptimizerParams, description="of the main player")


def load(path: Path) -> Params:
    """Read a parameter file.

    Raises:
        UserError: the file is missing, is not YAML, or has mistakes (all of them are listed).
    """
    return parse_text(read_text(path), str(path))


def parse_text(text: str, origin: str) -> Params:
    """The parameters in the text of a parameter file, which messages call `origin`.

    Raises:
        UserError: it is not YAML, or has mistakes (all of them are listed).
    """
    return parse(Params, read_yaml(text, origin), origin)
