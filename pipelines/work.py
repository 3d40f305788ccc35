"""One stage, worked on by this process: the one that runs the flow, or a Dask worker.

Locks and living processes are kept in this module. Dask sends tasks as copies; what belongs to a module it sends by
name, so nothing that is kept here is ever copied to another process.
"""

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines import devices, graph, outcome, project, server
from pipelines.children import Children, Stopping
from pipelines.graph import Node
from pipelines.locks import take
from pipelines.outcome import Outcome
from stages.run import RECORDED

GRACE = float(os.environ.get("PRETEXTBENCH_GRACE", "20"))  # seconds that stages get to end after Ctrl-C
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class StageFailed(Exception):
    """Carries the outcome of a stage that did not end well."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)  # what it is made of, so that it can be sent
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.reason or self.outcome.state


@dataclass(frozen=True)
class Order:
    """What a worker is told: plain data."""

    run: str  # names the flow run
    node: Node
    stale: bool  # DVC would run it, whatever becomes of those it needs
    beside: int = 1  # stages that share the cores of one machine
    threads: str = ""  # OMP_NUM_THREADS, where the user has said
    grace: float = GRACE


class Site:
    """What this process keeps for one flow run: its children, and how many of them at a time.

    Prefect's thread pool would count tasks that only wait for others, and an early branch could then hold up all
    threads: so every task gets a thread, and the limit is kept here. A Dask worker has as many threads as it may run
    stages; its stages inherit `lock`, by which the next run learns that they are still at work.
    """

    def __init__(
        self, children: Children, env: dict[str, str], jobs: int | None = None, lock: Path | None = None
    ) -> None:
        self.children, self.env, self.lock = children, env, lock
        self.slots = threading.Semaphore(jobs) if jobs else contextlib.nullcontext()
        self.devices = devices.found()

    def repro(self, order: Order) -> Outcome:
        """`dvc repro` of one stage, on devices that it has for itself."""
        with self.slots, devices.share(order.node.devices, self.devices, self._going) as (given, descriptors):
            lock = take(self.lock, shared=True) if self.lock else None
            try:
                held = (*descriptors, lock.descriptor) if lock else tuple(descriptors)
                result = self._process(order.node.name, {RECORDED: order.run, **self.env, **given}, held)
            finally:
                if lock:
                    lock.close()
        return replace(result, where=where(given))

    def _process(self, stage: str, env: dict[str, str], keep: tuple[int, ...]) -> Outcome:
        log = server.folder(self.children.root) / "logs" / f"{stage.replace('/', '_')}.log"
        start = time.monotonic()
        try:
            status = self.children.run([*graph.DVC, "repro", "--single-item", stage], log, env, keep)
        except Stopping:
            return Outcome(stage, "stopped")
        result = outcome.read(stage, status, log, time.monotonic() - start)
        return result if result.good or self._going() else replace(result, state="stopped")

    def _going(self) -> bool:
        return not self.children.stopping.is_set()


_sites: dict[str, Site] = {}
_opening = threading.Lock()


def where(given: dict[str, str]) -> str:
    """This machine, and what of it."""
    return " ".join([socket.gethostname(), *(f"device {names}" for names in given.values())])


def begin(run: str, site: Site) -> None:
    """For the process that runs the flow: by what its stages are kept."""
    _sites[run] = site


def site(order: Order) -> Site:
    """What this process keeps for a run; a Dask worker makes it when the run's first stage comes."""
    with _opening:
        if order.run not in _sites:
            root = project.root()
            share = order.threads or str(max(1, devices.cores() // order.beside))
            env = dict.fromkeys(THREADS, share)  # Dask's nanny has set them to 1
            _sites[order.run] = Site(Children(root, grace=order.grace), env, lock=server.folder(root) / "stages.lock")
        return _sites[order.run]


def stop(run: str) -> None:
    """For a Dask worker: stop the stages of a run. Returns at once, because it is called where the worker listens."""
    if run in _sites:
        threading.Thread(target=_sites[run].children.stop).start()


def dask_setup(_worker: object) -> None:
    """Dask calls this in a new worker of the local cluster: Ctrl-C in the terminal is for the flow, which tells it."""
    os.setsid()


def repro(order: Order, needs: list[Outcome]) -> Outcome:
    """Bring one stage up to date, after those it needs.

    Raises:
        StageFailed: it failed or was stopped.
    """
    fresh = any(need.state in {"ran", "restored"} for need in needs)
    if not fresh and not order.stale:
        return Outcome(order.node.name, "up to date")
    result = site(order).repro(order)
    if not result.good:
        raise StageFailed(result)
    return result


def retryable(_task: object, _run: object, state: Any) -> bool:
    """Whether a stage is worth another attempt: not after a mistake of the user's, and not when it was stopped."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailed) and error.outcome.state == "failed" and not error.outcome.mistake
