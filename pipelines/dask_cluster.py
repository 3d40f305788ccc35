"""Stages on Dask workers: a cluster on this machine, or one at an address. The extra `dask` installs its packages."""

import logging
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines import runner, server
from pretextbench.errors import UserError
from pretextbench.project.run_options import LOCAL

PATIENCE = 10.0  # seconds for a scheduler to answer


class Cluster:
    """A Dask client, and the cluster behind it where this process starts one: `jobs` workers of one thread.

    Raises:
        UserError: Dask is not installed, or no scheduler answers at the address, or it has no workers.
    """

    def __init__(self, address: str, jobs: int, root: Path) -> None:
        try:
            import distributed  # an extra
            import prefect_dask  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"--dask needs packages that are not installed here ({error.name}). Run `uv sync --extra dask`."
            ) from None
        logging.getLogger("distributed").setLevel(logging.ERROR)
        self.local: Any = _start(jobs, server.folder(root) / "dask") if address == LOCAL else None
        self.address = self.local.scheduler_address if self.local else address
        try:
            self.client = distributed.Client(self.address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"No Dask scheduler answers at {address!r} within {PATIENCE:.0f} s ({error}). Give an address such as "
                "tcp://HOST:8786, or --dask alone for workers on this machine."
            ) from None
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        threads = Counter[str]()
        for worker in workers:
            threads[worker["host"]] += worker["nthreads"]
        if not threads:
            raise UserError(
                f"The Dask scheduler at {address!r} has no workers. Start one in a checkout of this project: "
                f"`python -m dask worker {address} --nthreads 1`."
            )
        self.concurrent = max(threads.values())  # stages on the fullest machine

    def stop(self, run: str) -> None:
        """Stop the stages of a run on every worker; called again, kill them."""
        self.client.run(runner.stop, run, on_error="ignore")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()
        if self.local:
            self.local.close()


def _start(jobs: int, folder: Path) -> Any:
    """Workers on this machine. A stage is a process of its own, so nothing here limits memory; there is no web page."""
    import distributed  # an extra

    return distributed.LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",  # of the health pages, which cannot be left out: any free port
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address=None,
        memory_limit=0,
        local_directory=str(folder),
        preload=["pipelines.runner"],
        silence_logs=logging.ERROR,
    )
