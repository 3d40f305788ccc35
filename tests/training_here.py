"""Stages in the process of the test, which has torch: a stage and its recorder take 15 s more in their own.

The processes of a training on several devices may be copies of this one, which saves each the imports, 3 s of a core.
tests/stages/test_agent.py has processes of their own, as the stage has.
"""

import contextlib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from torch.distributed.launcher import api

from pretextbench.project.settings import parameters
from stages import agent, worker
from tests.checkout import Project
from tests.forked import START

TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # torchrun sets their handlers, and leaves them


def train(project: Project, name: str, node: int = 0, copies: bool = False, **env: str) -> None:
    """Train one method with seed 0 in a checkout, on as many devices as its params.yaml says, as the stage does it.

    `copies`: its processes are copies of this one, where there is no CUDA, which cannot be copied.
    """
    with _in(project, env), _launched(copies):
        agent.train(name, 0, parameters().pretrain, node)


def stage(project: Project, name: str, *words: str, copies: bool = False, **env: str) -> None:
    """One stage, as DVC starts it, without its record in MLflow; `copies` as for `train`."""
    main, argv = importlib.import_module(f"stages.{name}").main, [f"stages {name}", *words]
    record = mock.patch("stages.pretrain.record_pretrain")
    with (
        _in(project, env),
        _launched(copies),
        record,
        mock.patch("sys.argv", argv),
        mock.patch("sys.path", _path(project)),
    ):
        main()
    sys.modules.pop("pretext_mean_colour", None)  # another checkout has another


def _launched(copies: bool) -> AbstractContextManager[object]:
    forked = copies and START == "fork"
    return mock.patch.object(api, "elastic_launch", Forked) if forked else contextlib.nullcontext()


def first_stages(project: Project) -> None:
    """The stages that read params.yaml and the folders it names."""
    for name in ("inventory", "prepare"):
        stage(project, name)


def _path(project: Project) -> list[str]:
    """The search path with the project's own method."""
    return [project.env["PYTHONPATH"], *sys.path]


class Forked(api.elastic_launch):
    """Torchrun's agent, whose workers are copies of this process."""

    def __init__(self, config: api.LaunchConfig, program: str) -> None:
        super().__init__(replace(config, start_method="fork"), _work)
        importlib.import_module("lightning_fabric")  # once, not in each copy

    def __call__(self, *arguments: str) -> Any:
        """`-m stages.worker METHOD SEED`."""
        assert arguments[:2] == ("-m", "stages.worker")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)
            return super().__call__(*arguments[2:])


def _work(*arguments: str) -> None:
    """Be the worker that `python -m stages.worker` is."""
    sys.argv[:] = ["stages.worker", *arguments]
    sys.path.insert(0, os.environ["PYTHONPATH"])
    sys.modules.pop("pretext_mean_colour", None)
    if status := worker.main():
        sys.exit(status)


@contextlib.contextmanager
def _in(project: Project, env: dict[str, str]) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in TAKEN}
    with contextlib.chdir(project.root), mock.patch.dict(os.environ, {**project.env, **env}):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
