"""Copies of the test's process can run a backward, whichever tests ran before in it."""

import subprocess
import sys

import pytest
import torch

SIMULATED = """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from tests.forked import fork

def backward():
    torch.ones((), requires_grad=True).backward()

with FakeTensorMode():  # as the kit's check `accelerator`, or an export
    torch.ones(2)
backward()
copy = fork(backward)
copy.join()
raise SystemExit(copy.exitcode)
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="processes are started anew where there is a GPU")
def test_a_simulated_gpu_before_does_not_stop_a_copy() -> None:
    done = subprocess.run([sys.executable, "-c", SIMULATED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
