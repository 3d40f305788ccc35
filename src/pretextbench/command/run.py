"""`pretextbench run`: the whole graph as one Prefect flow, by the project's own `pipelines.run`."""

import os
import sys
from typing import Annotated

import typer

from pretextbench.command.project import root


def run(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET", help="Stages of dvc.yaml to bring up to date [all].")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Stages side by side, at most.")] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Attempts after a failure that is no mistake of yours.")
    ] = None,
) -> None:
    """Bring the comparison up to date: run the stages that a change made stale, and nothing else.

    DVC says what is stale and keeps what was made; Prefect orders, runs side by side and retries. Killed at any moment,
    the next run goes on from the last checkpoint. Ends with a table of the stages; exit status 0 all current, 2 a
    mistake of yours, 1 something failed, 130 Ctrl-C.

    **Examples**

    * `pretextbench run`: everything that is stale
    * `pretextbench run --jobs 2`: two stages side by side, each with its share of the cores
    * `pretextbench run pretrain@simclr-0`: one stage of dvc.yaml, and what it needs
    """
    options = {"--jobs": jobs, "--retries": retries}
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    become([*words, *(["--", *targets] if targets else [])])


def become(words: list[str]) -> None:
    """Turn this process into `python -m pipelines.run`: Ctrl-C reaches it once, and its exit status is ours."""
    os.chdir(root())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pipelines.run", *words])
