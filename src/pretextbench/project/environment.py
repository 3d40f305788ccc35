"""Environment of a project's processes: switches of other tools, variables of our own, and the packages they need.

The switches are defaults: no usage statistics, short timeouts, no noise. A variable that is already set wins. They are
read when the tools are imported, so `quiet_tools` comes first. DVC is started by the user, so its own switch is also in
`.dvc/config`.
"""

import os
import sys

from pretextbench.errors import UserError

RECORDED = "PRETEXTBENCH_RECORDED"  # the stage needs no Prefect flow of its own: it is a task of one, or a dry run
WORKER = "PRETEXTBENCH_WORKER"  # the stage runs on a Dask worker: other stages may run on other machines
SWITCHES = {
    # Usage statistics.
    "DO_NOT_TRACK": "true",  # a convention that Prefect's client and others follow
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Lightning Fabric and torch send nothing.
    # Bounds: a record that cannot be written must not hold up the work that it records.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "PREFECT_API_REQUEST_TIMEOUT": "30",  # seconds
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    # A logged encoder carries no copy of this project's lock file (it names the machine's package index).
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # its addresses of runs; `pretextbench ui` gives ours
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # `mlflow ui` would start seven idle processes
    # Noise: the messages of this project are enough.
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow and DVC work without git on the machine
}


def quiet_tools() -> None:
    """Set the switches in the environment of this process and of those it starts."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


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
            "checkout."
        )


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
