"""Commands act in a project: where it is, and `pretextbench run`, which runs its pipeline."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pretextbench.command.methods import names
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


def run(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET", help="Stages of dvc.yaml to bring up to date [all].")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="The stages of one method, and what they need.", autocompletion=names),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="The same for several methods.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why, and run nothing.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Stages side by side, at most [from cores and devices].")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="Stages on Dask workers: `local`, or a scheduler's address tcp://HOST:8786."
        ),
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Attempts after a failure that is no mistake of yours.")
    ] = None,
    remote: Annotated[str | None, typer.Option(metavar="NAME", help="Exchange files by this DVC remote.")] = None,
) -> None:
    """Bring the comparison up to date: run the stages that a change made stale, and nothing else.

    DVC says what is stale and keeps what was made; Prefect orders, runs side by side and retries. Killed at any moment,
    the next run goes on from the last checkpoint. Ends with a table of the stages; exit status 0 all current, 2 a
    mistake of yours, 1 something failed, 130 Ctrl-C.

    **Examples**

    * `pretextbench run`: everything that is stale
    * `pretextbench run --jobs 2`: two stages side by side, each with its share of the cores
    * `pretextbench run --dry-run`: what is stale, and why
    * `pretextbench run --only rotation`: what this method needs, without the comparison
    * `pretextbench run --dask local`: on Dask workers of this machine
    * `pretextbench run pretrain@simclr-0`: one stage of dvc.yaml, and what it needs
    """
    options = {"--only": only, "--methods": methods, "--jobs": jobs, "--dask": dask}
    options |= {"--retries": retries, "--remote": remote}
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    words += ["--dry-run"] if dry_run else []
    become("pipelines.run", [*words, *(["--", *targets] if targets else [])])
