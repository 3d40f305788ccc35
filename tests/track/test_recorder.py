"""The process that records: whatever becomes of it costs a warning, never a result."""

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import Record


def test_a_recorder_that_hangs_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(track, "_start", lambda root, encoder: _popen(hanging))
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert track.record(Record("k", "simclr-0"), tmp_path, timeout=0.3) is None
    assert time.monotonic() - start < 3
    assert "simclr-0 is not recorded in MLflow" in caplog.text
    assert "no answer within 0.3 s" in caplog.text
    assert len(caplog.records) == 1


def test_a_recorder_that_crashes_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    crashing = [sys.executable, "-c", "import sys; print('half', flush=True); sys.exit('the disk is on fire')"]
    monkeypatch.setattr(track, "_start", lambda root, encoder: _popen(crashing))
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the disk is on fire" in caplog.text


@pytest.mark.slow
def test_a_recorder_with_nothing_to_tell_ends_with_its_stage(tmp_path: Path) -> None:
    code = "from pathlib import Path; from pretextbench import track; track.warm(Path('.')); "
    code += "print(track._recorders.popitem()[1].pid, flush=True); import os; os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    end = time.monotonic() + 60
    while Path(f"/proc/{int(done.stdout)}").exists() and "Z" not in _state(int(done.stdout)):
        assert time.monotonic() < end, "the recorder outlived its stage"
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return "Z"


def _popen(command: list[str]) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
