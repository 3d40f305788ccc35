"""Environment variables between the processes of a project."""

import os

RECORDED = "PRETEXTBENCH_RECORDED"  # the stage needs no Prefect flow of its own: it is a task of one, or a dry run


def recorded() -> bool:
    """Whether the process that started this one keeps the record of the stage in Prefect."""
    return bool(os.environ.get(RECORDED))
