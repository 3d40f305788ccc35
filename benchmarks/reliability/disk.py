"""A full disk, as a small tmpfs, at every place that a comparison writes. Mounting one needs root."""

import contextlib
import dataclasses
import errno
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.base import base
from benchmarks.reliability.project import Done, Project, copy, remove, verdict
from benchmarks.reliability.table import show

STAGE = "pretrain@simclr-0"
LOAD = "import sys, torch; print(torch.load(sys.argv[1], weights_only=True)['step'])"
CHUNK = 4096  # bytes; a disk with less than one of them left is full


@dataclasses.dataclass(frozen=True)
class Scene:
    """A place that fills up while a command runs."""

    name: str
    mount: str  # below the project; "" is the whole project
    command: tuple[str, ...]
    ready: Callable[[Path], bool]  # when to fill it: what must be there in the project


def checkpoints(root: Path) -> list[Path]:
    """The finished checkpoints of trainings that are under way."""
    return list((root / ".scratch/pretrain").glob("*/*/checkpoint.pt"))


def at_once(_root: Path) -> bool:
    """Full from the start."""
    return True


def training(root: Path) -> bool:
    """Full as soon as a first checkpoint has been written."""
    return bool(checkpoints(root))


SCENES = (
    Scene("checkpoint", ".scratch", ("dvc", "repro", STAGE), training),
    Scene("output of pretrain", "runs/pretrain", ("dvc", "repro", STAGE), at_once),
    Scene("DVC's cache, at its commit", ".dvc/cache", ("dvc", "repro", STAGE), training),
    Scene("DVC's cache, under the flow", ".dvc/cache", ("pipelines.run", "--retries", "1", STAGE), training),
    Scene("report", "reports", ("dvc", "repro"), at_once),
    Scene("everything, in the middle of training", "", ("dvc", "repro"), training),
    Scene("everything, under the flow", "", ("pipelines.run", "--retries", "1"), training),
)


def measure(folder: Path) -> None:
    """Play every scene and print what came of it."""
    if not mountable(folder / "probe"):
        print("\nFull disks: left out, mounting a tmpfs is not permitted here (it needs root).")
        return
    baseline, rows = base(folder), []
    for scene in SCENES:
        baseline.project.restore(baseline.due["pretrain"])
        with mounted(baseline.project, scene.mount):
            rows.append([scene.name, *play(baseline.project, scene, baseline.encoders)])
        print(rows[-1], flush=True)
    head = ["full", "exit code", "what the user reads last", "checkpoint", "the next run, with space again"]
    show("Full disks", head, rows)


def play(project: Project, scene: Scene, reference: dict[str, str]) -> list[object]:
    """Fill the disk, see the error, free it, run again, compare."""
    place = project.root / scene.mount
    running = project.start(*scene.command)
    while not scene.ready(project.root) and running.process.poll() is None:
        time.sleep(0.005)
    while running.process.poll() is None:  # what is replaced or removed meanwhile is filled too
        fill(place / "filler")
        time.sleep(0.005)
    done = running.wait()
    project.settled()
    kept = ", ".join(map(loadable, checkpoints(project.root))) or "none"
    (place / "filler").unlink()
    repeated = project.run(*scene.command)
    if repeated.code == 0:
        repeated = project.run("dvc", "repro")  # what was not asked for
    return [done.code, f"`{shorten(done, project)}`", kept, verdict(project, repeated, reference)]


def shorten(done: Done, project: Project) -> str:
    """The error without the name of the temporary folder."""
    return done.error.replace(str(project.root) + "/", "").replace(str(project.root), ".")[:200]


def loadable(checkpoint: Path) -> str:
    """Load a checkpoint as a stage would, in a process of its own."""
    command = [sys.executable, "-c", LOAD, str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True)
    return f"intact, step {done.stdout.strip()}" if done.returncode == 0 else "BROKEN"


def fill(filler: Path) -> None:
    """Write until nothing fits any more."""
    with contextlib.suppress(FileNotFoundError), filler.open("ab", buffering=0) as stream:
        for size in (2**20, CHUNK):
            try:
                while stream.write(b"\0" * size) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@contextlib.contextmanager
def mounted(project: Project, below: str) -> Iterator[None]:
    """Put a tmpfs at a place in the project; what was there is in it, and stays when it is gone again."""
    place = project.root / below
    place.mkdir(parents=True, exist_ok=True)
    copied = project.root.with_name("aside")
    if not below:
        project.close()  # the server lives in it too
    copy(place, copied)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], check=True)
    try:
        for item in copied.iterdir():
            copy(item, place / item.name)
        yield
    finally:
        project.settled()
        if not below:
            project.close()
        subprocess.run(["umount", str(place)], check=True)
        remove(copied)


def mountable(probe: Path) -> bool:
    """True if a tmpfs can be mounted on this machine."""
    probe.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", str(probe)], check=True)
    return done.returncode == 0
