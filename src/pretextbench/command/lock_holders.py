"""Who holds the locks of a project: asked of the kernel, so that looking never stands in anybody's way."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretextbench.project import layout

WAIT = "wait until it has ended, or stop it with Ctrl-C in its terminal"
GONE = "nothing to do: DVC takes it out when it meets it"
TABLE = Path("/proc/locks")


@dataclass(frozen=True)
class Held:
    """One lock, its holder, and what to do."""

    path: Path
    who: str
    advice: str


def holders(place: Path) -> Iterator[Held]:
    """Locks that are held now, and entries of DVC's rwlock, live or left behind."""
    held = _kernel()
    for pattern in (layout.RUN_LOCK, layout.stage_lock("*")):
        for path in sorted(place.glob(str(pattern))):
            found = path.stat()
            if (pid := held.get((found.st_dev, found.st_ino))) is not None:
                said = path.read_text(errors="replace").strip()
                yield Held(path, said if said and not said.isdigit() else f"process {said or pid}", WAIT)
    yield from _rwlock(place / ".dvc" / "tmp" / "rwlock")


def _kernel() -> dict[tuple[int, int], int]:
    """(device, inode) -> process, of every exclusive lock; empty where the kernel does not say."""
    held = {}
    for line in TABLE.read_text().splitlines() if TABLE.is_file() else ():
        words = line.split()
        if "WRITE" in words and "->" not in words:
            major, minor, inode = words[5].split(":")
            held[os.makedev(int(major, 16), int(minor, 16)), int(inode)] = int(words[4])
    return held


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
        who = f"process {pid} ({command})"
        yield Held(path, f"{who}, which is gone" if gone else who, GONE if gone else WAIT)


def _processes(entries: Any) -> set[tuple[int, str]]:
    found = set()
    for modes in entries.values() if isinstance(entries, dict) else ():
        for infos in modes.values() if isinstance(modes, dict) else ():
            for info in infos if isinstance(infos, list) else [infos]:
                found.add((int(info["pid"]), str(info.get("cmd", ""))))
    return found
