"""Holders of the locks of a project, as the locked files and DVC's own list name them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretextbench.project import layout
from pretextbench.project.locks import take

WAIT = "wait until it has ended, or stop it with Ctrl-C in its terminal"
GONE = "nothing to do: DVC takes it out when it meets it"
OWNER = "change the owner or the permissions of the file"


@dataclass(frozen=True)
class Held:
    """One lock, its holder, and what to do."""

    path: Path
    holder: str
    advice: str


def holders(place: Path) -> Iterator[Held]:
    """Locks that are held now, and entries of DVC's rwlock, live or left behind."""
    for pattern in (layout.RUN_LOCK, layout.stage_lock("*")):
        for path in sorted(place.glob(str(pattern))):
            yield from _locked(path)
    yield from _rwlock(place / ".dvc" / "tmp" / "rwlock")


def _locked(path: Path) -> Iterator[Held]:
    """The holder of one lock, by the text that it wrote into the file."""
    try:
        lock = take(path, shared=True, wait=False)  # shared: two doctors do not see each other
    except OSError as error:
        yield Held(path, f"cannot be opened: {error.strerror}", OWNER)
        return
    if lock is not None:
        lock.close()
        return
    text = path.read_text(errors="replace").strip()
    yield Held(path, f"process {text}" if text.isdigit() else text or "a process that has not written its number", WAIT)


def _rwlock(path: Path) -> Iterator[Held]:
    """DVC's own list of who reads and writes which output."""
    try:
        entries = json.loads(path.read_text() or "{}")
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        yield Held(path, "half written, as a kill leaves it", "`pretextbench run` sets it aside, or remove it")
        return
    for pid, command in sorted(_processes(entries)):
        gone = not Path(f"/proc/{pid}").exists()
        holder = f"process {pid} ({command})"
        yield Held(path, f"{holder}, which is gone" if gone else holder, GONE if gone else WAIT)


def _processes(entries: Any) -> set[tuple[int, str]]:
    processes = set()
    for modes in entries.values() if isinstance(entries, dict) else ():
        for infos in modes.values() if isinstance(modes, dict) else ():
            for info in infos if isinstance(infos, list) else [infos]:
                processes.add((int(info["pid"]), str(info.get("cmd", ""))))
    return processes
