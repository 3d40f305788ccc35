"""The graph flow as Prefect deploys it (`prefect.yaml`): a Prefect worker runs `pipelines.run` in its checkout.

Importing this starts nothing and needs no server.
"""

import sys
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from pretextbench.project.run_options import command_line

STOPPED = 128  # exit statuses above it name a signal


@flow(name="comparison", validate_parameters=True)
def comparison(
    targets: list[str] | None = None, jobs: int | None = None, retries: int = 2, dask: str = "", remote: str = ""
) -> State[Any]:
    """Bring stages up to date, all by default; the options are those of `python -m pipelines.run`."""
    from pipelines import run  # here: it sets the switches of DVC and MLflow

    options = {"jobs": jobs, "retries": retries, "dask": dask or None, "remote": remote or None}
    status = run.main(command_line(options, targets or []))
    sys.stdout.flush()
    if status == 0:
        return Completed(message="all current")
    kind = Cancelled if status > STOPPED else Failed
    return kind(message=f"exit status {status}: the output of the worker says more")
