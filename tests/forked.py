"""A copy of the test's process, which has imported torch: a new interpreter takes 4 s for that."""

import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess


def fork(work: Callable[..., object], *arguments: object, daemon: bool = False) -> BaseProcess:
    """Start `work(*arguments)` in a copy of this process; `daemon`: it is ended with this one."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments, daemon=daemon)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)
        process.start()
    return process
