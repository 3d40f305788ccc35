"""Stages in the process of the test, which has torch: a stage and its recorder take 15 s more in their own."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from unittest import mock

from pretextbench.project.settings import parameters
from stages import agent
from tests.checkout import Project

TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # torchrun sets their handlers, and leaves them


def train(project: Project, name: str, node: int = 0, **env: str) -> None:
    """Train one method with seed 0 in a checkout, on as many devices as its params.yaml says, as the stage does it."""
    with _in(project, env):
        agent.train(name, 0, parameters().pretrain, node)


def stage(project: Project, name: str, *words: str, **env: str) -> None:
    """One stage, as DVC starts it, without its record in MLflow."""
    main, argv = importlib.import_module(f"stages.{name}").main, [f"stages {name}", *words]
    record = mock.patch("stages.pretrain.record_pretrain")
    with _in(project, env), record, mock.patch("sys.argv", argv), mock.patch("sys.path", _path(project)):
        main()
    sys.modules.pop("pretext_mean_colour", None)  # another checkout has another


def first_stages(project: Project) -> None:
    """The stages that read params.yaml and the folders it names."""
    for name in ("inventory", "prepare"):
        stage(project, name)


def _path(project: Project) -> list[str]:
    """The search path with the project's own method."""
    return [project.env["PYTHONPATH"], *sys.path]


@contextlib.contextmanager
def _in(project: Project, env: dict[str, str]) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in TAKEN}
    with contextlib.chdir(project.root), mock.patch.dict(os.environ, {**project.env, **env}):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
