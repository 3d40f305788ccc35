"""Records of runs as plain data. Neither MLflow nor torch is imported here."""

import dataclasses
import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from pretextbench.base.files import sha256
from pretextbench.project.layout import WEIGHTS

EXPERIMENT = "pretextbench"  # of records that name none
LAYER = "layer"  # tag of a logged model: where its features come from
DIM = "dim"  # ditto: how many there are per image
Scalar = str | int | float | bool | None
Point = tuple[str, int, float, float]  # metric, step, seconds after the run's start, value


@dataclass(frozen=True)
class Record:
    """The report of one stage about one run. All paths are absolute.

    `key` identifies the run. A second record with the same key, from the same stage or a later one, continues that run
    and repeats nothing. So the key must change when the result does: the key of a pretrained encoder contains the hash
    of its weights, and the evaluate stage continues the run of the pretrain stage by using the same key.
    """

    key: str
    name: str  # shown: simclr-0
    params: dict[str, Scalar] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # the final ones; NaN and infinity are recorded as such
    tags: dict[str, str] = field(default_factory=dict)
    history: str | None = None  # CSV text with a column `step`; its other numeric columns become metrics over steps
    files: dict[str, list[str]] = field(default_factory=dict)  # folder in the run ("" = top) -> files
    encoder: str | None = None  # folder of a saved encoder, that becomes the logged model `encoder`
    layer: str = ""  # of the encoder, whose features the logged model gives; empty for the last
    note: str | None = None  # Markdown, shown on top of the run's page
    seconds: float = 0.0  # duration of the run
    members: tuple[str, ...] = ()  # keys of the runs that belong under this one
    stage: str = ""  # name of the stage
    experiment: str = EXPERIMENT
    training: str | None = None  # key of the live run of the same training, which this record completes
    points: tuple[Point, ...] = ()  # metrics over steps, under their full names, in addition to `history`
    data: dict[str, str] | None = None  # the data set: name, digest, source, schema, profile
    tables: dict[str, dict[str, list[Scalar]]] = field(default_factory=dict)  # file.json -> column -> cells
    marks: dict[str, dict[str, str]] = field(default_factory=dict)  # key of a member -> tags that this record gives it
    models: dict[str, str] = field(default_factory=dict)  # registered model -> key of the member that becomes its @best
    measure: str = ""  # name of the task, as in base.measure: the charts of its experiment show this measure
    summary: str | None = None  # Markdown: becomes the description of the experiment
    reported: float = 0.0  # time of the report, seconds since 1970; set by `track.record`, kept by a later delivery


def still_valid(record: Record, digests: dict[str, str]) -> tuple[Record, list[str]]:
    """The record without files that have changed since, and a line about each part that is left out.

    A stage that runs again replaces its files, and files of another training must not be recorded under this key.
    `digests`: of the files when the record was saved.
    """
    names = [file for files in record.files.values() for file in files]
    problems = {file: why for file in names if (why := _problem(Path(file), digests.get(file, ""), "another file"))}
    files = {place: [file for file in files if file not in problems] for place, files in record.files.items()}
    lines = [f"{record.name}: without {file}, which {why}" for file, why in problems.items()]
    encoder = record.encoder
    if encoder and (why := _problem(Path(encoder) / WEIGHTS, record.key, "another one")):
        lines.append(f"{record.name}: without the encoder in {encoder}, which {why}")
        encoder = None
    return dataclasses.replace(record, files=files, encoder=encoder), lines


def _problem(file: Path, expected: str, another: str) -> str | None:
    """What is wrong with a file whose SHA-256 should be in the text `expected`; None where nothing is."""
    try:
        return None if sha256(file) in expected else f"is {another} by now"
    except OSError:
        return "is not there any more"


def short_hash(key: str) -> str:
    """A short form of a key, for file names and for tags that list many keys."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def digest(text: str) -> str:
    """The end of a key that is made of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def git_commit(root: Path) -> str | None:
    """The commit that is checked out at `root`; None without git or outside a repository."""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
