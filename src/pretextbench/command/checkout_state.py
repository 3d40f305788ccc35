"""State of a checkout for `pretextbench doctor`: owner, git, the servers of the record, locks."""

import configparser
import contextlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretextbench.command.console import Verdict
from pretextbench.project import layout
from pretextbench.project.addresses import prefect_answers, without_secrets
from pretextbench.project.locks import holder

FOLDERS = (".dvc", ".dvc/cache", ".dvc/tmp", "data", "runs", "reports", "mlruns", layout.SCRATCH, layout.PREFECT)
FILES = ("dvc.lock", "params.yaml", "mlflow.db")
NO_COMMIT = "records will not name the commit at which a result was made"
TIMEOUT = 5.0  # seconds for a server


@dataclass(frozen=True)
class Finding:
    """One line: a subject, its state, and what to do about it."""

    subject: str
    verdict: Verdict
    state: str
    remedy: str = ""


def owner(place: Path) -> Finding:
    """Whether this user can write everything that a run writes."""
    paths = [place, *(place / name for name in (*FOLDERS, *FILES) if (place / name).exists())]
    closed = [path for path in paths if not os.access(path, os.W_OK)]
    if not closed:
        return Finding("project", "ok", str(place))
    names = ", ".join(str(path.relative_to(place.parent)) for path in closed[:3])
    state = f"{place}: you cannot write {names}, which belongs to {_user(closed[0])}"
    return Finding("project", "fault", state, "clone the repository into a folder of your own, or change the owner")


def _user(path: Path) -> str:
    number = path.stat().st_uid
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user number {number}"


def git(place: Path) -> Finding:
    """Whether DVC and the record can use the git repository of the checkout."""
    if shutil.which("git") is None:
        return Finding("git", "warning", f"not installed: {NO_COMMIT}", "install git")
    command = ["git", "-C", str(place), "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if answer.returncode == 0:
        return Finding("git", "ok", f"commit {answer.stdout.strip()}")
    if "dubious ownership" in answer.stderr:
        remedy = f"`git config --global --add safe.directory {place}`, or clone it into a folder of your own"
        return Finding("git", "warning", f"another user owns the checkout, so git refuses it: {NO_COMMIT}", remedy)
    if "not a git repository" in answer.stderr and not _without_git(place):
        remedy = "`git init`, or `dvc config --local core.no_scm true`, or clone the repository"
        return Finding("git", "fault", "this copy has no .git, and DVC refuses every run without one", remedy)
    if any(words in answer.stderr for words in ("single revision", "'HEAD'", "not a git repository")):
        return Finding("git", "warning", f"the project is in no commit: {NO_COMMIT}", "`git add -A && git commit`")
    reason = answer.stderr.strip().rpartition("\n")[2].removeprefix("fatal: ")
    return Finding(
        "git", "fault", f"git cannot read this repository: {reason}", f"`git -C {place} status`, and mend it"
    )


def _without_git(place: Path) -> bool:
    """Whether DVC is configured to work without git."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(configparser.Error):
        config.read([place / ".dvc" / "config", place / ".dvc" / "config.local"])
    return config.get("core", "no_scm", fallback="").lower() == "true"


def store(place: Path) -> Iterator[Finding]:
    """MLflow's store, and records that wait for it."""
    from pretextbench.track import outbox
    from pretextbench.track import store as mlflow_store

    try:
        state = mlflow_store.check(place)
    except ImportError as error:
        yield Finding("MLflow store", "warning", f"cannot be examined without {error.name}", "install what is missing")
        return
    if state.problem:
        yield Finding("MLflow store", "fault", f"{state.address} {state.problem}", state.remedy)
    else:
        none = "" if state.exists else ": none yet, a run makes it"
        yield Finding("MLflow store", "ok", f"{state.address}{none}")
    waiting = len(outbox.waiting(place))
    if waiting:
        replay = "the next stage writes them, or `python -m pretextbench.track . --replay`"
        yield Finding("records", "warning", f"{waiting} wait for the store", replay)


def prefect() -> Iterator[Finding]:
    """The Prefect server of the user's, where PREFECT_API_URL names one; else a run starts its own."""
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return
    shown = f"PREFECT_API_URL is {without_secrets(url)}"
    remedy = "start that server, or unset PREFECT_API_URL: a run starts its own"
    try:
        answers = prefect_answers(url, TIMEOUT)
    except Exception as error:  # any fault of a network or of an unknown server
        state = without_secrets(str(error)) or type(error).__name__
        yield Finding("Prefect server", "fault", f"{shown}, which does not answer: {state}", remedy)
        return
    if answers:
        yield Finding("Prefect server", "ok", shown)
    else:
        yield Finding("Prefect server", "fault", f"{shown}, which answers, but not as Prefect's API does", remedy)


# --- locks --------------------------------------------------------------------------------------------------------

WAIT = "wait until it has ended, or end it: Ctrl-C in its terminal, or `kill` and its number"
GONE = "nothing to do: DVC takes it out when it meets it"
OWNER = "change the owner or the permissions of the file"


def locks(place: Path) -> Iterator[Finding]:
    """Locks that are held now, and entries of DVC's rwlock, live or left behind."""
    files = [path for pattern in (layout.RUN_LOCK, layout.stage_lock("*")) for path in sorted(place.glob(str(pattern)))]
    held = [*(finding for path in files for finding in _lock(place, path)), *_rwlock(place)]
    yield from held or [Finding("locks", "ok", "no process is at work here")]


def _lock(place: Path, path: Path) -> Iterator[Finding]:
    name = path.relative_to(place)
    try:
        text = holder(path)
    except OSError as error:
        yield Finding("lock", "warning", f"{name}: cannot be opened: {error.strerror}", OWNER)
        return
    if text is not None:
        process = f"process {text}" if text.isdigit() else text or "a process that has not written its number"
        yield Finding("lock", "warning", f"{name}: {process}", WAIT)


def _rwlock(place: Path) -> Iterator[Finding]:
    """DVC's own list of the processes that read and write its outputs."""
    path = place / ".dvc" / "tmp" / "rwlock"
    name = path.relative_to(place)
    try:
        entries = json.loads(path.read_text() or "{}")
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        remedy = "`pretextbench run` sets it aside, or remove it"
        yield Finding("lock", "warning", f"{name}: half written, as a kill leaves it", remedy)
        return
    for number, command in sorted(_processes(entries)):
        gone = not Path(f"/proc/{number}").exists()
        state = f"{name}: process {number} ({command}){', which is gone' if gone else ''}"
        yield Finding("lock", "warning", state, GONE if gone else WAIT)


def _processes(entries: Any) -> set[tuple[int, str]]:
    processes = set()
    for modes in entries.values() if isinstance(entries, dict) else ():
        for infos in modes.values() if isinstance(modes, dict) else ():
            for info in infos if isinstance(infos, list) else [infos]:
                number = info.get("pid") if isinstance(info, dict) else None
                if isinstance(number, int):  # others are no entries of DVC
                    processes.add((number, str(info.get("cmd", ""))))
    return processes
