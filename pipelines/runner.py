"""Runner of stages in this process: that of the flow, or a Dask worker.

Locks and living processes are kept in this module. Dask sends tasks as copies; what belongs to a module it sends by
name, so the state of this module is never copied to another process.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines import checkouts, devices, graph, server
from pipelines.checkouts import Parcel
from pipelines.graph import Node
from pipelines.processes import Children, Stopping
from pipelines.reproduce import Outcome, last_message, reproduce
from pretextbench.base.files import write_whole
from pretextbench.errors import UserError
from pretextbench.project import layout, lockfile
from pretextbench.project.environment import RECORDED, WORKER
from pretextbench.project.locks import Lock, take

GRACE = float(os.environ.get("PRETEXTBENCH_GRACE", "20"))  # seconds that stages get to end after Ctrl-C
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
HOME = "run.id"


class StageFailed(Exception):
    """Carries the outcome of a stage that did not end well."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)  # its arguments, which pickle sends
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.reason or self.outcome.state


@dataclass(frozen=True)
class Order:
    """A stage to bring up to date, as plain data for a worker."""

    run: str  # names the flow run
    node: Node
    stale: bool  # DVC would run it, even if nothing changes in the stages that it needs
    concurrent: int = 1  # stages that share the cores of one machine
    threads: str = ""  # OMP_NUM_THREADS, where the user has set it
    tracking: str = ""  # MLFLOW_TRACKING_URI, the same
    restore: bool = False  # outputs of the same inputs are pulled from the remote, not made again
    parcel: Parcel | None = None  # for other checkouts
    grace: float = GRACE


class Site:
    """State of this process for one flow run: its children, and their number at a time.

    Prefect's thread pool would count tasks that only wait for others, and an early branch could then hold up all
    threads: so every task gets a thread, and the limit is kept here. A Dask worker has as many threads as it may run
    stages; its stages inherit `lock`, so the next run sees that they are still running.
    """

    def __init__(
        self, children: Children, env: dict[str, str], jobs: int | None = None, lock: Path | None = None
    ) -> None:
        self.children, self.env, self.lock = children, env, lock
        self.root = children.root
        self.slots = threading.Semaphore(jobs) if jobs else contextlib.nullcontext()
        self.devices = devices.available()

    def repro(self, order: Order, needs: list[Outcome]) -> Outcome:
        """`dvc repro` of one stage, on devices that it has for itself; in another checkout with all that it needs."""
        away = "" if self.lock is None or _at_home(self.root, order.run) else f"{socket.gethostname()}:{self.root}"
        with self.slots, devices.share(order.node.devices, self.devices, self._going) as (assigned, descriptors):
            start = time.monotonic()
            try:
                with self._settled(order, away) as lock:
                    self._bring(order, needs, away)
                    held = (*descriptors, lock.descriptor) if lock else tuple(descriptors)
                    env = {RECORDED: order.run, **self.env, **assigned}
                    result = reproduce(self.children, order.node.name, order.stale, env, held, order.restore)
                    if result.is_current and order.parcel:
                        self.dvc("push", order.parcel.remote, [order.node.name])
            except UserError as error:
                mistake = not isinstance(error, Unmoved)
                seconds = time.monotonic() - start
                result = Outcome(order.node.name, "failed", seconds, str(error), mistake)
            except Stopping:
                result = Outcome(order.node.name, "stopped")
        if not result.is_current and not self._going():
            result = replace(result, state="stopped", reason="")  # the summary says once what is kept
        entry = lockfile.read(self.root).get(order.node.name) if away and result.is_current else None
        return replace(result, where=where(assigned, away), away=away, entry=entry)

    @contextlib.contextmanager
    def _settled(self, order: Order, away: str) -> Iterator[Lock | None]:
        """Hold the lock that shows a stage at work in this checkout."""
        if away and order.parcel is None:
            raise UserError(
                f"The Dask worker works in {away}, another checkout than the one that started the run. Start it in "
                "that one, or name a DVC remote through which both exchange files: --remote NAME."
            )
        if away and order.parcel:
            lock: Lock | None = checkouts.settle(self.root, order.parcel)
        else:
            lock = take(self.lock, shared=True) if self.lock else None
        try:
            yield lock
        finally:
            if lock:
                lock.close()

    def _bring(self, order: Order, needs: list[Outcome], away: str) -> None:
        """Fetch outputs of other checkouts that the stage needs."""
        new = {need.stage: need.entry for need in needs if need.entry and need.away != away}
        if away and order.parcel:
            known = order.parcel.entries
            new = {name: known[name] for name in order.node.needs if name in known} | new
        self.fetch(new, order.parcel.remote if order.parcel else "")
        if away:
            checkouts.check_methods(self.root)

    def fetch(self, new: lockfile.Entries, remote: str) -> None:
        """Bring the outputs that other checkouts made of these stages into this one.

        Raises:
            Unmoved: DVC cannot.
        """
        if new:
            checkouts.merge(self.root, new)
            self.dvc("pull", remote, ["--force", *new])

    def dvc(self, verb: str, remote: str, arguments: list[str]) -> None:
        """`dvc pull` or `dvc push`.

        Raises:
            Unmoved: it fails; its last words and its log are named.
        """
        log = self.root / layout.log(f"{verb}-{arguments[-1]}")
        status = self.children.run([*graph.DVC, verb, "--remote", remote, *arguments], log, {})
        if status:
            raise Unmoved(f"`dvc {verb}` with the remote {remote!r}: {last_message(log)}; see {log}")

    def _going(self) -> bool:
        return not self.children.stopping.is_set()


class Unmoved(UserError):
    """A transfer from or to a remote failed: worth another attempt."""


_sites: dict[str, Site] = {}
_opening = threading.Lock()


def where(assigned: dict[str, str], away: str = "") -> str:
    """This machine or the other checkout, and the devices given."""
    return " ".join([away or socket.gethostname(), *(f"device {names}" for names in assigned.values())])


def announce(root: Path, run: str) -> None:
    """For the process of the flow: write the id of the run, so that a worker recognises the same checkout."""
    write_whole(server.folder(root) / HOME, run.encode())


def _at_home(root: Path, run: str) -> bool:
    path = server.folder(root) / HOME
    return path.is_file() and path.read_text() == run


def begin(run: str, site: Site) -> None:
    """For the process of the flow: register its Site for the run."""
    _sites[run] = site


def site(order: Order) -> Site:
    """The Site of this process for a run; a Dask worker makes it when the run's first stage comes."""
    with _opening:
        if order.run not in _sites:
            root = layout.root()
            share = order.threads or str(max(1, devices.cores() // order.concurrent))
            env = dict.fromkeys(THREADS, share)  # Dask's nanny has set them to 1
            env[WORKER] = "1"
            env |= {"MLFLOW_TRACKING_URI": order.tracking} if order.tracking else {}
            _sites[order.run] = Site(Children(root, grace=order.grace), env, lock=root / layout.STAGES_LOCK)
        return _sites[order.run]


def stop(run: str) -> None:
    """For a Dask worker: stop the stages of a run. Returns at once, because it is called where the worker listens."""
    if run in _sites:
        threading.Thread(target=_sites[run].children.stop).start()


def dask_setup(_worker: object) -> None:
    """Dask calls this in a new worker of the local cluster. Ctrl-C in the terminal reaches the flow, which stops it."""
    os.setsid()


def repro(order: Order, needs: list[Outcome]) -> Outcome:
    """Bring one stage up to date, after those it needs.

    Raises:
        StageFailed: it failed or was stopped.
    """
    fresh = any(need.state in {"ran", "restored"} for need in needs)
    if not fresh and not order.stale:
        return Outcome(order.node.name, "up to date")
    result = site(order).repro(order, needs)
    if not result.is_current:
        raise StageFailed(result)
    return result


def retryable(_task: object, _run: object, state: Any) -> bool:
    """Whether a stage is worth another attempt: not after a mistake of the user's, and not when it was stopped."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailed) and error.outcome.state == "failed" and not error.outcome.mistake
