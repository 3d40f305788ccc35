"""Layout of a project on the disk: its root, and every path below it, once. Light, because commands import it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pretextbench.base.files import short_name
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from pretextbench.params import Params


def root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds dvc.yaml or .dvc; else `start` (default: the working folder).

    `dvc exp run --temp` and `--queue` work in a copy under .dvc/tmp/exps that vanishes: the project is then the
    original, so that records and servers are shared and stay.
    """
    base = (start or Path.cwd()).resolve()
    marked = (p for p in (base, *base.parents) if (p / "dvc.yaml").is_file() or (p / ".dvc").is_dir())
    project = next(marked, base)
    for folder in project.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return project


def require_plain_path(folder: Path) -> None:
    """Refuse a project whose path is another one where it is part of an address: of a database, of MLflow's artifacts.

    Raises:
        UserError: the path has `?`, `#` or an escape such as `%20`.
    """
    if misread := re.search("%[0-9A-Fa-f]{2}|[?#]", str(folder)):
        raise UserError(
            f"The project is in {folder}: MLflow and Prefect read {misread[0]!r} in a path as part of an address. "
            "Rename the folder: its path may not have `?`, `#`, or `%` before two hexadecimal digits."
        )


def borrow(path: str | None) -> None:
    """Link a relative path of the project into a temporary copy of it that lacks it, such as data/labelled.

    The copy of `dvc exp run --temp` has only files that git or DVC keeps, and images are in neither.
    """
    if path and not Path(path).exists() and (root() / path).exists():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).symlink_to(root() / path)


PARAMS = Path("params.yaml")
LOCKFILE = Path("dvc.lock")
METHODS = Path("runs/methods.json")  # contestants: versions, source hashes, parameters
SETTINGS = Path("runs/settings.json")  # sections of params.yaml, defaults filled in, without operational fields
SOURCE = Path("runs/source.json")  # the files of the data sets
IMAGES = Path("data/prepared/images")
LABELS = Path("data/prepared/labels")
TRANSFER = Path("data/transfer")
VIEWS = Path("data/views")
AUDIT = Path("runs/audit")
TUNED = Path("runs/tune")  # one folder per method
PLAN = TUNED / "plan.json"  # of tuning: method -> what its search depends on; empty where it is not tuned
AUGMENTED = Path("runs/augment")  # one folder per method
PRETRAINED = Path("runs/pretrain")  # one folder per method and seed, as the next one
EVALUATED = Path("runs/evaluate")
REPORTS = Path("reports")
REPORT = REPORTS / "report.html"
CHOSEN = "best.json"  # in a folder of TUNED
WEIGHTS, CARD, METRICS = "encoder.safetensors", "encoder.json", "metrics.json"  # names within these folders

SCRATCH = Path(".scratch")  # not an output: checkpoints must outlive DVC, which deletes the outputs of a stage it runs
PREFECT = Path(".prefect")  # the server of the project, logs and locks of runs
RUN_LOCK = PREFECT / "run.lock"  # held by the process of a pipeline run
STAGES_LOCK = PREFECT / "stages.lock"  # shared by stages that Dask workers have started


def tuned(method: str) -> Path:
    """Output of the tune stage for a method."""
    return TUNED / method


def augmented(method: str) -> Path:
    """Output of the augment stage for a method."""
    return AUGMENTED / method


def pretrained(method: str, seed: int) -> Path:
    """Output of the pretrain stage for a method and seed."""
    return PRETRAINED / f"{method}-{seed}"


def evaluated(method: str, seed: int) -> Path:
    """Output of the evaluate stage for a method and seed."""
    return EVALUATED / f"{method}-{seed}"


def training_scratch(method: str = "", seed: int = 0) -> Path:
    """Checkpoints of a training, until its outputs are committed; without a method the folder of all of them."""
    return SCRATCH / "pretrain" / (f"{method}-{seed}" if method else "")


def tuning_scratch(method: str) -> Path:
    """Finished trials of a method, and the checkpoint of the one at work."""
    return SCRATCH / "tune" / method


def progress(run: str) -> Path:
    """Progress of the training `run`, method and seed as in `simclr-0`: written by it, read by the table of a run."""
    return SCRATCH / "progress" / f"{run}.json"


def live_curves(method: str, seed: int) -> Path:
    """Metrics of a training that runs, on their way to MLflow."""
    return SCRATCH / "live" / f"{method}-{seed}"


def records() -> Path:
    """Records that MLflow has not taken yet."""
    return SCRATCH / "records"


def checked() -> Path:
    """Entries of methods whose parameters an earlier inventory has checked."""
    return SCRATCH / "checked.json"


def estimate() -> Path:
    """Seconds of each stage that `pretextbench init` has measured for its params.yaml."""
    return SCRATCH / "estimate.json"


def contents(source: str) -> Path:
    """Hashes of the image files of a source, `prepare`, `labels` or `transfer`, that an earlier inventory has read."""
    return SCRATCH / "contents" / f"{source}.txt"


def lockfile_copy() -> Path:
    """The last whole dvc.lock."""
    return SCRATCH / LOCKFILE.name


def stage_lock(name: str) -> Path:
    """Lock of the stage run `name`, so that no second process does its work; `*` for a pattern of all."""
    return SCRATCH / "locks" / f"{short_name(name)}.lock"


def log(stage: str) -> Path:
    """Output of a stage in the last pipeline run, also that of DVC."""
    return PREFECT / "logs" / f"{short_name(stage.replace('/', '_'))}.log"


def stage_status(stage: str) -> Path:
    """Exit status of a stage in the last pipeline run, where it ran."""
    return log(stage).with_suffix(".status")


def experiment(params: "Params") -> str:
    """The MLflow experiment of this comparison: `compare.name`, else the project's folder."""
    return params.compare.name or re.sub(r"""[/:"'%\\\s]+""", "-", root().name) or "pretextbench"
