"""The project that a command works on: the folder of a checkout, found upwards from the working folder."""

import os
import sys
from pathlib import Path

from pretextbench.errors import UserError

MARKS = ("dvc.yaml", "stages", "pipelines")  # what a checkout has and another DVC project has not
GET = (
    "A project is a checkout of pretextbench's repository: clone it, run `uv sync` in it, go into it with `cd`, and "
    "type the command again."
)


def root(start: Path | None = None) -> Path:
    """The nearest folder upwards from `start` (default: the working folder) that holds dvc.yaml.

    Raises:
        UserError: there is none, or it is the project of another program; says how to get one.
    """
    here = _working_folder() if start is None else start.resolve()
    found = next((folder for folder in (here, *here.parents) if (folder / MARKS[0]).is_file()), None)
    if found is None:
        raise UserError(f"{here} is not inside a project: neither it nor a folder above it holds dvc.yaml. {GET}")
    missing = [name for name in MARKS[1:] if not (found / name).is_dir()]
    if missing:
        raise UserError(f"{found / MARKS[0]} is not pretextbench's: there is no {missing[0]}/ beside it. {GET}")
    return found


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UserError("The working folder has been removed. Go into another one with `cd`.") from None


def become(module: str, words: list[str]) -> None:
    """Turn this process into `python -m module` in the project: Ctrl-C reaches it once, its exit status is ours."""
    os.chdir(root())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
