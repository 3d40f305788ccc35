"""Parameters of the trainings: the search before them, the one budget and loop of all methods, and their watch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pretextbench.base.section import BudgetShare, Fraction, Positive, RandomSeed, Section, distinct

BUDGETS = ("images", "epochs", "multiply_adds")  # the three ways to give the budget


class Tune(Section):
    """The search of parameters: equal trials and images for every method, by successive halving."""

    trials: int = Field(0, ge=0, le=1000, description="settings tried for each method, its own first; 0 = none")
    images: Positive = Field(6144, description="images seen by each trial of the first round; whole batches of 256")
    eta: int = Field(3, ge=2, le=100, description="a round has 1 / eta of the trials before, and eta times the images")
    seed: RandomSeed = Field(0, description="of the settings that are drawn, and of their trainings")

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        if self.trials == 1:
            raise ValueError(
                "`trials` is 1: the first trial is the method's own parameters, so there is nothing to choose from. "
                "Use 0 (nothing is tuned), or 2 and more"
            )
        return self


class Pretrain(Section):
    """The one budget and the one loop that every method shares."""

    operational: ClassVar[frozenset[str]] = frozenset({"resident", "checkpoint_seconds", "log_every"})

    images: Positive | None = Field(12_000, description="budget: images seen by each method; or null, with one of:")
    epochs: float | None = Field(
        None, gt=0, le=1_000_000, description="budget: passes over the training images; or null, see above"
    )
    multiply_adds: float | None = Field(
        None, gt=0, le=1e24, description="budget: of all forward passes of the training; or null, see above"
    )
    snapshots: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(distinct)] = Field(
        (0.25, 0.5), max_length=20, description="shares of the budget after which the encoder is kept, for its curve"
    )
    batch_size: Positive = Field(64, description="images per step, all processes together; a method may ask its own")
    accumulate: Positive = Field(1, description="split a batch into so many parts, to save memory")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the machine computes in it"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="where to train")
    devices: int = Field(1, ge=1, le=1024, description="processes on each machine, one per device")
    nodes: int = Field(1, ge=1, le=1024, description="machines that train one encoder together")
    compile: bool = Field(False, description="torch.compile the encoder: pays on GPUs, not on small CPU networks")
    freeze: BudgetShare | None = Field(
        None, lt=1, description="share of the steps in which the encoder rests; null = 0.1 with start weights"
    )
    encoder_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the learning rate for the encoder; null = 0.1 with start weights, else 1",
    )
    layer_decay: float | None = Field(
        None, gt=0, lt=1, description="factor of the encoder's rate from each layer to the one before it; null = off"
    )
    clip: float | None = Field(None, ge=1e-6, le=1e6, description="largest norm of the gradient; null = no clipping")
    resident: Literal["auto", "always", "never"] = Field("auto", description="keep the images on the device")
    checkpoint_seconds: float = Field(30, ge=0, description="seconds between checkpoints, written with a history row")
    log_every: Positive = Field(10, description="steps between two rows of history.csv")

    @model_validator(mode="after")
    def _exactly_one_budget(self) -> Self:
        given = {name: getattr(self, name) for name in BUDGETS}
        if len([value for value in given.values() if value is not None]) != 1:
            listed = ", ".join(f"{name}: {'null' if value is None else f'{value:g}'}" for name, value in given.items())
            raise ValueError(
                f"give exactly one of `images`, `epochs` and `multiply_adds`, the others null; found {listed}"
            )
        return self

    def of_images(self, images: int) -> Self:
        """The same training with a budget of so many images seen."""
        return self.model_copy(update={**dict.fromkeys(BUDGETS), "images": images})


class Watch(Section):
    """Monitoring of a training. It changes no result, so no stage depends on it."""

    live: bool = Field(True, description="tell MLflow while it trains, and not only at the end")
    epochs: float = Field(
        1, gt=0, description="passes over the training images between two looks at health and pictures"
    )
    share: Fraction = Field(0.015, description="of the training's time that these looks may take; 0 = none")
    knn: float | None = Field(None, gt=0, description="passes between two k-NN on validation labels; null = none")
    knn_images: Positive = Field(2000, description="training images that vote in it, at most")
