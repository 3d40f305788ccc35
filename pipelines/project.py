"""Where the project of this process is: the folder that holds dvc.yaml, the record and the Prefect server."""

from pathlib import Path

CODE = Path(__file__).resolve().parents[1]  # the folder from which `python -m pipelines...` starts


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
