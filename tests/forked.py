"""A copy of the test's process, which has imported torch: a new interpreter takes 4 s for that."""

import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import torch

# The first backward of a process starts a thread for each GPU, after which torch refuses a backward in its copies. A
# FakeTensorMode before it, as in the kit, shows torch a GPU where there is none: so this one is before all tests.
torch.ones((), requires_grad=True).backward()
START = "spawn" if torch.cuda.is_available() else "fork"  # CUDA cannot be copied


def fork(work: Callable[..., object], *arguments: object, daemon: bool = False) -> BaseProcess:
    """Start `work(*arguments)` in a copy of this process; `daemon`: it is ended with this one."""
    process = multiprocessing.get_context(START).Process(target=work, args=arguments, daemon=daemon)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)
        process.start()
    return process
