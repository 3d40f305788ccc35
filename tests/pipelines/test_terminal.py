"""A run on a terminal of its own: the table goes, and the summary stays."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.conftest import CODE, Toy


@pytest.mark.slow
def test_on_a_terminal_the_table_goes_and_the_summary_stays(toy: Toy, server_url: str) -> None:
    """Also that what is printed meanwhile stands above the table, whole."""
    project = toy("stages:\n  one: {cmd: echo hello; sleep 2; echo x > one, outs: [one]}\n")
    shown, process = terminal(project, PREFECT_API_URL=server_url)
    assert process == 0, shown
    assert re.search(r"one\S* +\S*running", shown), "the table has been there"
    assert "hello" not in shown, "what stages print is in their logs"
    assert "!" not in shown, "DVC's bars begin with one"
    last = shown[shown.rindex("\x1b[?25h") :]  # the cursor is there again: the table has gone
    assert re.search(r"stage +result +seconds.*\r\none +ran ", last)


def terminal(project: Path, **env: str) -> tuple[str, int]:
    """Run the flow on a terminal of its own; returns what was shown there, and the exit status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.run"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(CODE), "TERM": "xterm", "COLUMNS": "100", "LINES": "40", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the terminal has no other side any more
                break
        elif process.poll() is not None:
            break
    os.close(ours)
    process.kill() if process.poll() is None and time.monotonic() > end else None
    return shown.decode(errors="replace"), process.wait(30)
