"""Environment variables by which the processes of a project speak to each other."""

import os

RECORDED = "PRETEXTBENCH_RECORDED"  # the stage needs no Prefect flow of its own: it is a task of one, or a dry run


def recorded() -> bool:
    """Whether the process that started this one keeps the record of the stage in Prefect."""
    return bool(os.environ.get(RECORDED))
