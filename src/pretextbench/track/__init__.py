"""The record of a comparison: what is written to MLflow, and nothing else about it.

A stage describes one run as a `Record`, plain data that can be kept and told again, and hands it to `record`. MLflow
is imported in a process of its own (`python -m pretextbench.track`): it costs 6 s to import and to open a store,
which `warm` starts while the stage imports torch; and a store that hangs, fails or crashes cannot take a result with
it. The files of the stage are the truth; the record follows them.
"""

import dataclasses
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pretextbench import quiet

quiet.apply()  # MLflow reads its switches when it is imported

Scalar = str | int | float | bool | None
EXPERIMENT = "pretextbench"
PATIENCE = 120.0  # seconds that a record may take
log = logging.getLogger(__name__)


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
    history: str | None = None  # a CSV with a column `step`; its other numeric columns become metrics over steps
    files: dict[str, list[str]] = field(default_factory=dict)  # folder in the run ("" = top) -> files
    encoder: str | None = None  # folder of a saved encoder, which becomes the logged model `encoder`
    note: str | None = None  # Markdown, shown on top of the run's page
    seconds: float = 0.0  # that the work took: the run's duration
    members: tuple[str, ...] = ()  # keys of the runs that belong under this one


_waiting: dict[Path, "subprocess.Popen[str]"] = {}


def store(root: Path) -> str:
    """Where the record of the project at `root` is: MLFLOW_TRACKING_URI, else mlflow.db in it (absolute)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def warm(root: Path, *, encoder: bool = False) -> None:
    """Let the recorder start up now, so that a later `record` of this process need not wait for it.

    `encoder`: it will be given one, and so imports torch too. Unused, it ends with this process.
    """
    root = root.resolve()
    if root not in _waiting:
        _waiting[root] = _start(root, encoder)


def record(what: Record, root: Path, patience: float = PATIENCE) -> str | None:
    """Write one run to the record and return its MLflow run id; None, after one warning, when that is not possible."""
    root = root.resolve()
    process = _waiting.pop(root, None) or _start(root, what.encoder is not None)
    try:
        told, complaints = process.communicate(json.dumps(dataclasses.asdict(what)), patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        _warn(what, root, f"no answer within {patience:g} s")
        return None
    try:
        return str(json.loads(told.splitlines()[-1])["run_id"])
    except (ValueError, KeyError, IndexError):
        _warn(what, root, (complaints.strip().splitlines() or [f"exit status {process.returncode}"])[-1])
        return None


def _start(root: Path, encoder: bool) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__, str(root), *(["--encoder"] if encoder else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def _warn(what: Record, root: Path, reason: str) -> None:
    log.warning("%s is not recorded in MLflow (%s): %s. Its files are complete.", what.name, store(root), reason)
