"""Process of `init` that imports torch, while the folder is surveyed: it measures, and checks weights."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from pretextbench.base import child
from pretextbench.errors import UserError

ADVICE = {  # where the process that does it was ended
    "near": "Give --no-measure to do without it.",
    "estimate": "params.yaml is written: go on with `pretextbench run`, or lower pretrain.batch_size in it first.",
    "weights": "Give --weights none to do without weights.",
    "accept": "Give --weights none to do without weights.",
}


@contextlib.contextmanager
def worker(wanted: bool) -> Iterator[Connection | None]:
    """A process that imports what trains while the folder is surveyed, which takes seconds; `ask` gives it work."""
    if not wanted:
        yield None
        return
    process = child.start(_serve)
    try:
        yield process.pipe
    finally:
        process.end()


def _serve(pipe: Connection) -> None:
    """Do the tasks that `ask` lists. Lines about the work are sent before each result."""
    from pretextbench.command import weight_check
    from pretextbench.command.copies import near
    from pretextbench.command.estimate import estimate

    tasks: dict[str, Callable[..., Any]] = {
        "near": near,
        "estimate": partial(estimate, tell=pipe.send),
        "weights": weight_check.usable,
        "accept": weight_check.accept,
    }
    while True:
        name, arguments = pipe.recv()
        try:
            pipe.send(tasks[name](*arguments))
        except UserError as error:
            pipe.send(error)


def ask(worker: Connection, name: str, arguments: tuple[object, ...], tell: Callable[[str], object] = str) -> Any:
    """The result of `near`, `estimate`, `weights` or `accept` in the other process.

    Raises:
        UserError: a contestant or weights cannot be used, or the process was ended from outside, as where memory is
            short.
    """
    try:
        worker.send((name, arguments))
        while isinstance(answer := worker.recv(), str):
            tell(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise UserError(
            f"The process that measures was ended from outside, as happens where memory is short. {ADVICE[name]}"
        ) from None
    if isinstance(answer, UserError):
        raise answer
    return answer
