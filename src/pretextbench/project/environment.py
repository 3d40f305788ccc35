"""Environment of the processes of a project: a variable between them, and the packages that the pipeline needs."""

import os
import sys

from pretextbench.errors import UserError

RECORDED = "PRETEXTBENCH_RECORDED"  # the stage needs no Prefect flow of its own: it is a task of one, or a dry run
WORKER = "PRETEXTBENCH_WORKER"  # the stage runs on a Dask worker: other stages may run on other machines


def on_worker() -> bool:
    """Whether other stages of the same run may be on machines that have what this one lacks."""
    return bool(os.environ.get(WORKER))


def recorded() -> bool:
    """Whether the process that started this one keeps the record of the stage in Prefect."""
    return bool(os.environ.get(RECORDED))


def require_pipeline() -> None:
    """Make sure that the packages of the extra `pipeline` are installed, which the library alone does not need.

    Raises:
        UserError: names those that are missing, and the command that installs them.
    """
    from importlib.metadata import requires  # here: stages do not ask, and start sooner

    from packaging.requirements import Requirement

    needs = [need for need in map(Requirement, requires("pretextbench") or []) if need.marker]
    extra = [need.name for need in needs if need.marker and need.marker.evaluate({"extra": "pipeline"})]
    if missing := [name for name in extra if not _installed(name)]:
        raise UserError(
            f"The pipeline needs {', '.join(missing)}, not installed for {sys.executable}. Type `uv sync` in the "
            "checkout, or `pip install 'pretextbench[pipeline]'`."
        )


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
