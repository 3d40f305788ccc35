"""One stage brought up to date by a process of DVC, and how it ended: by exit statuses and dvc.lock.

DVC ends with the same status whatever a stage ended with, and says only in prose whether it ran one. So it is given a
shell of ours for the commands of stages (`stage_shell.sh`), which writes down their exit status.
"""

import errno
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import graph
from pipelines.graph import Node
from pipelines.processes import Children
from pretextbench.project import layout, lockfile
from pretextbench.project.environment import RECORDED

SHELL = Path(__file__).with_name("stage_shell.sh")
STATUS = "PRETEXTBENCH_STATUS"  # the file for the exit status of a stage
MISTAKE = 2  # exit status of a stage for a mistake of the user
BUSY = "is at work here already"  # in the message of a stage that finds another process at its work: that one will end
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # met by DVC itself at its commit: to train again would not help
STOPPED = {130, 143, -signal.SIGINT, -signal.SIGTERM}
OWN, DVCS = "error: ", "ERROR: "  # beginnings of a line: an error message of a stage, and one of DVC


@dataclass(frozen=True)
class Outcome:
    """The end of one stage: its state, time and reason."""

    stage: str
    state: str  # ran, restored, up to date, failed, stopped, not run
    seconds: float = 0.0
    reason: str = ""
    mistake: bool = False  # of the user: trying again would not help
    where: str = ""  # machine, device and other checkout, where a process ran
    away: str = ""  # that other checkout, and the stage's entry in its dvc.lock
    entry: Mapping[str, Any] | None = None

    @property
    def is_current(self) -> bool:
        """Whether the stage's outputs are there and current."""
        return self.state in {"ran", "restored", "up to date"}


class Ending(NamedTuple):
    """The traces of a `dvc repro --single-item`."""

    dvc: int  # exit status of DVC
    ran: bool  # the stage's command was started
    command: int | None = None  # its exit status; None where it was killed together with its shell
    restored: bool = False  # not run, and outputs or the entry in dvc.lock are other ones now


def reproduce(
    children: Children, stage: str, stale: bool, env: dict[str, str], keep: tuple[int, ...] = (), pull: bool = False
) -> Outcome:
    """`dvc repro` of one stage, which inherits the descriptors `keep`.

    Args:
        stale: DVC would have run it, or checked its outputs out, before those that it needs.
        pull: outputs of the same inputs are fetched from the default remote, where it has them.

    Raises:
        Stopping: the run is being stopped.
    """
    log, path = children.root / layout.log(stage), children.root / layout.stage_status(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    before = _entry(children.root, stage)
    start = time.monotonic()
    command = [*graph.DVC, "repro", "--single-item", *(["--pull"] if pull else []), stage]
    status = children.run(command, log, {"SHELL": str(SHELL), STATUS: str(path), **env}, keep)
    text = path.read_text().strip() if path.exists() else ""
    restored = stale or _entry(children.root, stage) != before
    ending = Ending(status, path.exists(), int(text) if text else None, restored)
    return judge(stage, ending, log, time.monotonic() - start)


def _entry(root: Path, stage: str) -> object:
    """The entry of a stage; a damaged file has none, and DVC gives the message about it."""
    path = root / layout.LOCKFILE
    return lockfile.stages(path.read_bytes()).get(stage) if path.is_file() else None


def judge(stage: str, ending: Ending, log: Path, seconds: float) -> Outcome:
    """The outcome of a stage. Its output serves for the message of a failure only."""
    if ending.dvc == 0:
        state = "ran" if ending.ran else "restored" if ending.restored else "up to date"
        return Outcome(stage, state, seconds)
    if {ending.command, ending.dvc} & STOPPED:
        return Outcome(stage, "stopped", seconds)
    reason = _reason(log, failed=ending.ran and ending.command != 0)
    full = any(f"[Errno {number}]" in reason for number in MACHINE)
    mistake = full or (ending.command == MISTAKE and BUSY not in reason)
    return Outcome(stage, "failed", seconds, f"{reason.removesuffix('.')}; see {log}", mistake=mistake)


def _reason(log: Path, failed: bool) -> str:
    """The error message of a stage that `failed`, or its last line; else the message of DVC."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    messages = [line.removeprefix(OWN) for line in lines if line.startswith(OWN)]
    output = [line for line in lines if not line.startswith(DVCS)]
    return (messages or output or ["no output"])[-1] if failed else last_message(log) or "no output"


def last_message(log: Path) -> str:
    """The first error message of DVC, else the last line; empty without output."""
    text = log.read_text(errors="replace")
    if graph.BUSY.search(text):
        return graph.explained(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line.removeprefix(DVCS) for line in lines if line.startswith(DVCS)), "".join(lines[-1:]))


def run_without_work(nodes: list[Node], children: Children) -> list[Outcome] | None:
    """Run what always runs (the inventory); the outcomes of all `nodes` where nothing else is to be run, else None.

    Prefect is not needed for it, and importing that would take most of the time.

    Raises:
        UserError: DVC cannot tell what is stale.
    """
    roots = [node.name for node in nodes if node.always and not node.needs]
    later = [node.name for node in nodes if node.name not in roots]
    if any(node.always and node.needs for node in nodes) or graph.stale(later):
        return None
    try:
        ended = {name: reproduce(children, name, True, {RECORDED: "nothing else to do"}) for name in roots}
    except KeyboardInterrupt:
        children.stop()
        raise
    if not all(result.is_current for result in ended.values()) or graph.stale(later):
        return None
    return [ended.get(node.name) or Outcome(node.name, "up to date") for node in nodes]
