"""The comparison that the experiments disturb: made once, kept before its trainings and after its end."""

import functools
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability.project import Project, encoders, stage_names

COMMANDS = {"dvc repro": ("dvc", "repro"), "flow, 2 jobs": ("pipelines.run", "--jobs", "2")}
BEFORE = ("prepare", "audit", "transfer", "views", "augment", "augment-control", "evaluate-control")  # not repeated


class Base(NamedTuple):
    """A project and what an undisturbed run makes of it."""

    project: Project
    begun: Path  # kept when only the trainings, their evaluations and the comparison were to be done
    ended: Path
    lengths: dict[str, float]  # seconds from `begun` to the end, by command
    encoders: dict[str, str]  # file -> SHA-256
    stages: set[str]  # in dvc.lock


@functools.cache
def base(folder: Path) -> Base:
    """Make it, or the one made before.

    Raises:
        RuntimeError: two undisturbed runs end with different encoders.
    """
    project = Project(folder / "comparison")
    project.must("dvc", "repro", *BEFORE)
    begun = project.keep("begun")
    lengths, found = {}, []
    for name, words in COMMANDS.items():
        project.restore(begun)
        lengths[name] = project.must(*words).seconds
        found.append(encoders(project.root))
    if found[0] != found[1]:
        raise RuntimeError(f"two undisturbed runs differ: {found}")
    print(f"undisturbed: {', '.join(f'{name} {s:.1f} s' for name, s in lengths.items())}", flush=True)
    return Base(project, begun, project.keep("ended"), lengths, found[0], stage_names(project.root))
