"""How much machine and patience there is: the names, apart from their numbers, so that `--help` is light."""

from enum import StrEnum


class Profile(StrEnum):
    """A choice of `pretextbench init --profile`."""

    quick = "quick"
    standard = "standard"
    gpu = "gpu"
    multi_gpu = "multi-gpu"
