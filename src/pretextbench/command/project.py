"""The project that a command acts in, and `pretextbench run`, which runs its pipeline."""

import inspect
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pretextbench.command.methods import names
from pretextbench.errors import UserError
from pretextbench.project.environment import require_pipeline
from pretextbench.project.run_options import OPTIONS, TARGETS, Option, words

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
    base = _working_folder() if start is None else start.resolve()
    folder = next((folder for folder in (base, *base.parents) if (folder / MARKS[0]).is_file()), None)
    if folder is None:
        raise UserError(f"{base} is not inside a project: neither it nor a folder above it holds dvc.yaml. {GET}")
    missing = [name for name in MARKS[1:] if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"{folder / MARKS[0]} is not pretextbench's: there is no {missing[0]}/ beside it. {GET}")
    return folder


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UserError("The working folder has been removed. Go into another one with `cd`.") from None


def become(module: str, arguments: list[str]) -> None:
    """Turn this process into `python -m module` in the project: Ctrl-C reaches it once, its exit status is ours."""
    os.chdir(root())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def run(targets: list[str] | None, **options: Any) -> None:
    """Bring the comparison up to date: run the stages that a change made stale, and nothing else.

    DVC says what is stale and keeps what was made; Prefect orders, runs side by side and retries. Killed at any moment,
    the next run goes on from the last checkpoint. Ends with a table of the stages and, if all are current, with the
    answer of the comparison. Exit status 0 all current, 2 a mistake of yours, 1 something failed, 130 Ctrl-C.

    **Examples**

    * `pretextbench run`: everything that is stale
    * `pretextbench run --jobs 2`: two stages side by side, each with its share of the cores
    * `pretextbench run --dry-run`: what is stale, and why
    * `pretextbench run --only rotation`: what this method needs, without the comparison
    * `pretextbench run --dask local`: on Dask workers of this machine
    * `pretextbench run pretrain@simclr-0`: one stage of dvc.yaml, and what it needs
    """
    require_pipeline()
    become("pipelines.run", words(options, targets or []))


def _parameter(option: Option) -> inspect.Parameter:
    """The parameter by which Typer declares an option."""
    info = typer.Option(
        option.flag,
        metavar=option.metavar,
        min=option.minimum,
        help=option.help,
        show_default=False,
        autocompletion=names if option.name == "only" else None,
    )
    kind: Any = bool if option.kind is bool else option.kind | None
    annotation = Annotated[kind, info]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=annotation)


def _declared_options() -> inspect.Signature:
    """The signature of `run`, which Typer reads: TARGET and the table of options."""
    target = Annotated[list[str] | None, typer.Argument(metavar="TARGET", help=TARGETS)]
    first = inspect.Parameter("targets", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=target)
    return inspect.Signature([first, *map(_parameter, OPTIONS)])


_signature = _declared_options()
run.__signature__ = _signature  # type: ignore[attr-defined]
run.__annotations__ = {name: parameter.annotation for name, parameter in _signature.parameters.items()}
