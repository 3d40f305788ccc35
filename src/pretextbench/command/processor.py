"""Processor of this machine: its name, and its seconds for two pieces of work, which scale a table."""

import os
import platform
import re
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

TIMES = 3  # each piece is done: the fastest is not disturbed by others
CPUINFO = Path("/proc/cpuinfo")  # of Linux


def name() -> str:
    """The processor and its cores, as people know it."""
    names = re.findall(r"^model name\s*: (.*)$", _cpuinfo(), re.M)
    return f"{names[0].strip() if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""


def loop() -> float:
    """Seconds of one core for a piece of Python, of which the start of a stage consists."""
    return min(_loop() for _ in range(TIMES))


def _loop() -> float:
    start, total = time.process_time(), 0
    for i in range(400_000):
        total += i * i % 7
    return time.process_time() - start


def fit() -> float:
    """Seconds of one core for a piece of linear algebra, of which the probes consist."""
    x = np.ones((2000, 128), np.float32)
    with threadpool_limits(1):
        return min(_fit(x) for _ in range(TIMES))


def _fit(x: np.ndarray) -> float:
    start, weights = time.process_time(), np.ones((128, 100), np.float32)
    for _ in range(20):
        weights = weights + 1e-9 * (x.T @ (x @ weights))
    return time.process_time() - start
