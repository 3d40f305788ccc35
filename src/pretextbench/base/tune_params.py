"""The section `tune` of params.yaml: the search of each method's parameters before its trainings."""

from typing import Self

from pydantic import Field, model_validator

from pretextbench.base.section import Positive, RandomSeed, Section


class Tune(Section):
    """The same number of trials, and the same images in each, for every method; by successive halving."""

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
