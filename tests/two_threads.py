"""Two processes that share a batch, played by two threads: what crosses the border, and its gradients, in one graph.

`tests/test_distributed.py` shows that real processes carry the same values and gradients; here a block of
`pretextbench.parts` costs no start of a process. Each thread draws its own random numbers from torch's generator.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pretextbench import distributed

WORLD = 2


@contextmanager
def _threads() -> Iterator[threading.local]:
    """Let `pretextbench.distributed` see two processes, one in each thread that sets `thread.rank`."""
    thread, barrier, parts = threading.local(), threading.Barrier(WORLD, timeout=20), [torch.empty(0)] * WORLD

    def gather(x: Tensor) -> Tensor:
        parts[thread.rank] = x
        barrier.wait()
        everything = torch.cat(parts)
        barrier.wait()
        return everything

    calls = {"get_world_size": lambda: WORLD, "get_rank": lambda: thread.rank}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "_is_single", lambda: False)
        patch.setattr(distributed, "dist", SimpleNamespace(**calls))
        patch.setattr(distributed, "_Gather", SimpleNamespace(apply=gather))
        yield thread


def in_two_threads(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """The function of each process's half of the rows of x, in order of rank."""
    with _threads() as thread:

        def work(rank: int) -> Tensor:
            thread.rank = rank
            return function(x.chunk(WORLD)[rank])

        with ThreadPoolExecutor(WORLD) as pool:
            return list(pool.map(work, range(WORLD)))
