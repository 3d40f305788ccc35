"""One stage as one Prefect flow. The record must never cost a result: without Prefect the work is done all the same."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines import server
from pretextbench.project.addresses import without_secrets


class Once:
    """Work that is done once. It keeps its exception, whatever end Prefect reports."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.started = False
        self.error: BaseException | None = None

    def __call__(self) -> None:
        self.started = True
        try:
            self.work()
        except BaseException as error:
            self.error = error


def recorded(stage: str, name: str, work: Callable[[], None], root: Path) -> None:
    """Do `work` once, as run `name` of the flow `stage`; its exception is raised again.

    When Prefect cannot be started or reached the work is done without it, after one warning.
    """
    once = Once(work)
    try:
        url = server.begin(root)
        if server.ready(url):
            _as_flow(stage, name, once)
        else:
            _warn(server.silence(root, url))
    except Exception as error:  # any error of Prefect: its settings, its client, its server, its imports
        _warn(without_secrets(f"Prefect: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))
    if not once.started:
        once()
    if once.error is not None:
        raise once.error


def _warn(reason: str) -> None:
    print(f"warning: this run is not recorded in Prefect: {reason}", file=sys.stderr)


def _as_flow(stage: str, name: str, once: Once) -> None:
    """Record the end as a state, not as an exception: Prefect would print a traceback for a user's mistake."""
    import prefect  # here, because it costs 2 s
    from prefect.states import Cancelled, Completed, Failed

    def body() -> object:
        once()
        if once.error is None:
            return Completed(message="done")
        kind = Failed if isinstance(once.error, Exception | SystemExit) else Cancelled
        return kind(message=f"{type(once.error).__name__}: {once.error}"[:2000])

    body.__doc__ = f"The stage {stage} of the DVC graph."
    with no_heartbeats():
        prefect.flow(name=stage, flow_run_name=name, validate_parameters=False)(body)(return_state=True)


@contextlib.contextmanager
def no_heartbeats() -> Iterator[None]:
    """On the project's own server: no heartbeats. Nothing there listens to them, and their thread ends 1 s late.

    The address is given again: Prefect has read it when it was imported, which may have been before `server.begin`.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # as above

    logging.getLogger("EventsWorker").setLevel(logging.CRITICAL)  # on a busy machine it counts what it still sends
    address = {PREFECT_API_URL: os.environ["PREFECT_API_URL"]}
    with temporary_settings({**address, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if server.owned() else address):
        yield
