"""Environment switches of the tools that this project uses: no usage statistics, short timeouts, no noise.

These are defaults: a variable that is already set wins. They are read when the tools are imported, so `apply` comes
first. DVC is started by the user, so its own switch is also in `.dvc/config`.
"""

import os

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


def apply() -> None:
    """Set the switches in the environment of this process and of those it starts."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
