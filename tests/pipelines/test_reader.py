"""A run whose output nobody reads any more: a pager that was left, `| head -1`, a closed terminal."""

import os
import subprocess
import sys

import pytest

from tests.pipelines.conftest import CODE, Toy

CLOSED = """
import os, sys
from pipelines.run import LastingStream
read, write = os.pipe()
os.close(read)
sys.stdout = LastingStream(os.fdopen(write, "w"))
for number in range(3):
    print(number, flush=True)
print("to the end", file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--dry-run"], []], ids=" ".join)
def test_a_run_whose_reader_has_gone_goes_on(arguments: list[str], toy: Toy) -> None:
    """`pretextbench run | head -1`: the stages are run all the same, and there is no traceback."""
    project = toy("stages:\n  one: {cmd: echo x > out, outs: [out]}\n")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.run", *arguments], cwd=project, stdout=write, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CODE), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        text=True, timeout=120,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (project / "out").exists() != bool(arguments)


def test_an_output_without_a_reader_ends_nothing() -> None:
    """The parent, a pager or the terminal is gone: what is printed is lost, and the run goes on."""
    done = subprocess.run([sys.executable, "-c", CLOSED], cwd=CODE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "to the end\n")
