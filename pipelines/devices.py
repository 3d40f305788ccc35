"""Accelerators, and their distribution: a device is given to one stage at a time, also by two flows of this machine.

Each share of a device is a lock of the operating system on a file, which the stage inherits and which ends with it.
PRETEXTBENCH_DEVICES names the devices (`0,1`; empty: none); one that is named twice may be used by two stages at once.
"""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pretextbench.project.locks import Lock, locked, take

NAMES = "PRETEXTBENCH_DEVICES"
VISIBLE = "CUDA_VISIBLE_DEVICES"


def available(env: Mapping[str, str] = os.environ) -> list[str]:
    """The devices that stages may use, as the user, CUDA or nvidia-smi name them; none on a machine without."""
    for name in (NAMES, VISIBLE):
        if name in env:
            return [device for device in (part.strip() for part in env[name].split(",")) if device and device != "-1"]
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listing.stdout.split() if listing.returncode == 0 else []


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def jobs(names: list[str]) -> int:
    """Default number of stages side by side: one per device, or one per four cores, at least two if it can.

    Small networks leave cores idle, so two stages on two cores pay (`docs/reliability.md`).
    """
    return min(cores(), max(2, len(names), cores() // 4))


@contextlib.contextmanager
def share(count: int, names: list[str], going: Callable[[], bool]) -> Iterator[tuple[dict[str, str], list[int]]]:
    """Hold `count` different devices of `names` (as many as there are), waiting for them as long as `going()`.

    Yields environment variables that name them, and the descriptors that a process must inherit to go on holding them.
    """
    count = min(count, len(set(names)))
    if not count:
        yield {}, []
        return
    held: dict[str, Lock] = {}
    try:
        while going() and not (held := _all(count, names)):
            time.sleep(0.2)
        yield ({VISIBLE: ",".join(held)} if held else {}), [lock.descriptor for lock in held.values()]
    finally:
        for lock in held.values():
            lock.close()


def _all(count: int, names: list[str]) -> dict[str, Lock]:
    """`count` free devices, or none: two processes that each hold one and wait for another would wait forever."""
    held: dict[str, Lock] = {}
    with locked(_folder() / "choosing.lock"):
        for number, name in enumerate(names):
            if name in held or len(held) == count:
                continue
            again = names[:number].count(name)
            lock = take(_folder() / f"{re.sub(r'[^0-9A-Za-z-]+', '-', name)}.{again}.lock", wait=False)
            if lock is not None:
                held[name] = lock
    if len(held) == count:
        return held
    for lock in held.values():
        lock.close()
    return {}


def _folder() -> Path:
    """For all projects of this user on this machine."""
    return Path(tempfile.gettempdir()) / f"pretextbench-devices-{os.getuid()}"
