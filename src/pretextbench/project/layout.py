"""Where a project lies on the disk: its root, and every path below it, once."""

import re
from pathlib import Path

from pretextbench.params import Params


def root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds dvc.yaml or .dvc; else `start` (default: the working folder).

    `dvc exp run --temp` and `--queue` work in a copy under .dvc/tmp/exps that vanishes: the project is then the
    original, so that records and servers are shared and stay.
    """
    here = (start or Path.cwd()).resolve()
    found = next((p for p in (here, *here.parents) if (p / "dvc.yaml").is_file() or (p / ".dvc").is_dir()), here)
    for folder in found.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return found


ROOT = root()  # where the record is kept, also for an experiment that DVC runs in a temporary folder
PARAMS = Path("params.yaml")
METHODS = Path("runs/methods.json")  # contestants: versions, source hashes, parameters
SETTINGS = Path("runs/settings.json")  # sections of params.yaml, defaults filled in, without operational fields
SOURCE = Path("runs/source.json")  # the files of the data sets
IMAGES = Path("data/prepared/images")
LABELS = Path("data/prepared/labels")
TRANSFER = Path("data/transfer")
VIEWS = Path("data/views")
AUDIT = Path("runs/audit")
REPORTS = Path("reports")
SCRATCH = Path(".scratch")  # not an output: checkpoints must outlive DVC, which deletes the outputs of a stage it runs
PROGRESS = SCRATCH / "progress"


def augmented(method: str) -> Path:
    """What the augment stage leaves for a method."""
    return Path("runs/augment") / method


def pretrained(method: str, seed: int) -> Path:
    """What the pretrain stage leaves for a method and seed."""
    return Path("runs/pretrain") / f"{method}-{seed}"


def kept(method: str, seed: int) -> Path:
    """Where a training keeps what it needs to go on, until its outputs are committed."""
    return SCRATCH / "pretrain" / f"{method}-{seed}"


def progress(method: str, seed: int) -> Path:
    """The file with the progress of a training."""
    return PROGRESS / f"{method}-{seed}.json"


def spool(method: str, seed: int) -> Path:
    """The live metrics of a training, on their way to MLflow (see `track.spool`)."""
    return SCRATCH / "live" / f"{method}-{seed}"


def evaluated(method: str, seed: int) -> Path:
    """What the evaluate stage leaves for a method and seed."""
    return Path("runs/evaluate") / f"{method}-{seed}"


def experiment(params: Params) -> str:
    """The MLflow experiment of this comparison: `compare.name`, else the project's folder."""
    return params.compare.name or re.sub(r"""[/:"'%\\\s]+""", "-", ROOT.name) or "pretextbench"
