"""The comparison that the experiments disturb: made once, and kept at every point from which one of them starts."""

import functools
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability.project import Project, encoders, stage_names

COMMANDS = {"dvc repro": ("dvc", "repro"), "flow, 2 jobs": ("pipelines.run", "--jobs", "2")}
BEFORE = ("prepare", "audit", "transfer", "views", "augment", "augment-control", "evaluate-control")  # not repeated
LAST = {"pretrain": "pretrain@simclr-0", "evaluate": "evaluate@simclr-0", "compare": "compare"}  # one after another


class Base(NamedTuple):
    """A project and what an undisturbed run makes of it."""

    project: Project
    due: dict[str, Path]  # kept when only this one of `LAST`, and those after it, were to be done
    ended: Path
    lengths: dict[str, float]  # seconds of both trainings, their evaluations and the comparison, by command
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
    begun, due = project.keep("begun"), {}
    seconds = project.must("dvc", "repro", "evaluate@rotation-0").seconds
    for word, stage in LAST.items():
        due[word] = project.keep(word)
        seconds += project.must("dvc", "repro", stage).seconds
    ended, reference, stages = project.keep("ended"), encoders(project.root), stage_names(project.root)
    project.restore(begun)
    flow = project.must(*COMMANDS["flow, 2 jobs"]).seconds
    if reference != encoders(project.root):
        raise RuntimeError(f"two undisturbed runs differ: {reference} and {encoders(project.root)}")
    lengths = dict(zip(COMMANDS, (seconds, flow), strict=True))
    print(f"undisturbed: {', '.join(f'{name} {s:.1f} s' for name, s in lengths.items())}", flush=True)
    return Base(project, due, ended, lengths, reference, stages)
