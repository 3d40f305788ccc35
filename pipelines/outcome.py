"""How one stage ended, read from what DVC wrote about it; and the table of all of them."""

import errno
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MISTAKE = 2  # exit status of a stage for a mistake of the user
BUSY = "is at work here already"  # what a stage says that finds another process at its work: that one will end
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # met by DVC itself at its commit: to train again would not help
STOPPED = {130, 143, -signal.SIGINT, -signal.SIGTERM}


@dataclass(frozen=True)
class Outcome:
    """How one stage ended."""

    stage: str
    state: str  # ran, restored, up to date, failed, stopped, not run
    seconds: float = 0.0
    reason: str = ""
    mistake: bool = False  # of the user: trying again would not help
    where: str = ""  # machine, device and other checkout, where a process ran
    away: str = ""  # that other checkout, and what its dvc.lock says of the stage
    entry: Mapping[str, Any] | None = None

    @property
    def good(self) -> bool:
        """Whether the stage's outputs are there and current."""
        return self.state in {"ran", "restored", "up to date"}


def read(stage: str, status: int, log: Path, seconds: float) -> Outcome:
    """Judge a `dvc repro --single-item` by its exit status and its output."""
    text = log.read_text(errors="replace")
    if status == 0:
        return Outcome(stage, _how(stage, text), seconds)
    ended = re.search(r"exited with (-?\d+)", text)  # DVC itself always ends with 1 or 255
    code = int(ended[1]) if ended else None
    if code in STOPPED or status in STOPPED:
        return Outcome(stage, "stopped", seconds)
    reason = _reason(text)
    full = any(f"[Errno {number}]" in reason for number in MACHINE)
    mistake = full or (code == MISTAKE and BUSY not in reason)
    return Outcome(stage, "failed", seconds, f"{reason}; see {log}", mistake=mistake)


def _how(stage: str, text: str) -> str:
    if f"Running stage '{stage}'" in text:
        return "ran"
    return "restored" if "is cached - skipping run" in text else "up to date"


def _reason(text: str) -> str:
    """The stage's own `error:` line if it has one, else what DVC itself met, else the stage's last words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    others = [line for line in lines if not line.startswith("ERROR: failed to reproduce")]
    met = re.findall(r"^ERROR: failed to reproduce '.*?': (?!failed to run)(.+)$", text, re.M)
    return (own or met or others or ["no output"])[-1]


def last_words(log: Path) -> str:
    """What DVC said last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), "".join(lines[-1:]))


def table(outcomes: Iterable[Outcome]) -> str:
    """One line per stage, columns aligned, and the reasons of what failed."""
    rows = [("stage", "result", "seconds", "where")]
    rows += [(o.stage, o.state, f"{o.seconds:.1f}", o.where) for o in outcomes]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)
