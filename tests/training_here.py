"""The agent of a training in the process of the test, which has torch: a stage and its recorder take 15 s more."""

import contextlib
import os
import signal
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


@contextlib.contextmanager
def _in(project: Project, env: dict[str, str]) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in TAKEN}
    with contextlib.chdir(project.root), mock.patch.dict(os.environ, {**project.env, **env}):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
