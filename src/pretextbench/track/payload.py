"""What a stage hands to the record: parameters, metrics, pictures, files; and the commit it ran at."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


def git_commit(root: Path) -> str | None:
    """The commit that is checked out at `root`; None without git or outside of a repository."""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


EXPERIMENT = "pretextbench"  # of records that name none, and of those of version 0.1
Scalar = str | int | float | bool | None
Point = tuple[str, int, float, float]  # metric, step, seconds after the run's start, value


@dataclass(frozen=True)
class Record:
    """What one stage tells about one run. All paths are absolute.

    `key` says which run it is: the same key told again, by the same stage or a later one, continues that run and
    repeats nothing. So it must change when the result does: for a pretrained encoder, the hash of its weights belongs
    in it, and evaluate finds the run of pretrain by the same key.
    """

    key: str
    name: str  # shown: simclr-0
    params: dict[str, Scalar] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # the final ones; NaN and infinity are recorded as such
    tags: dict[str, str] = field(default_factory=dict)
    history: str | None = None  # CSV text with a column `step`; its other numeric columns become metrics over steps
    files: dict[str, list[str]] = field(default_factory=dict)  # folder in the run ("" = top) -> files
    encoder: str | None = None  # folder of a saved encoder, which becomes the logged model `encoder`
    note: str | None = None  # Markdown, shown on top of the run's page
    seconds: float = 0.0  # that the work took: the run's duration
    members: tuple[str, ...] = ()  # keys of the runs that belong under this one
    stage: str = ""  # who tells it
    experiment: str = EXPERIMENT
    training: str | None = None  # key of the run that was told while it trained: this record completes it
    points: tuple[Point, ...] = ()  # metrics over steps, under their full names, beside those of `history`
    data: dict[str, str] | None = None  # the data set: name, digest, source, schema, profile
    tables: dict[str, dict[str, list[Scalar]]] = field(default_factory=dict)  # file.json -> column -> cells
    marks: dict[str, dict[str, str]] = field(default_factory=dict)  # key of a member -> tags that this record gives it
    models: dict[str, str] = field(default_factory=dict)  # registered model -> key of the member that becomes its @best
    told: float = 0.0  # when, in seconds since 1970; `record` fills it in, and writing it later keeps it


def without_secrets(text: str) -> str:
    """A message without what an address in it may hold: user, password and query, up to the next space or quote."""
    text = re.sub(r"(://)[^\s'\"]*@", r"\1***@", text)
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\")]+", r"\1***", text)
