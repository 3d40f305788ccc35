"""Trainings and the recorder: it follows one until it ends, however it ends. In this process, with a fake writer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import Record
from pretextbench.track.outbox import Outbox
from pretextbench.track.spool import Spool
from tests.track.fakes import FakeWriter

pytestmark = pytest.mark.slow  # imports MLflow


def trained(folder: Path) -> Spool:
    """The spool of a training that has begun."""
    live = Spool(folder)
    live.begin(Record("training-1", "simclr-0"))
    live.values(1, 0.1, {"loss": 1.0})
    return live


@pytest.mark.parametrize("failed", [None, "diverged"])
def test_a_training_is_followed_until_it_ends(
    failed: str | None, tmp_path: Path, make: Callable[..., Any], recorder: Any
) -> None:
    writer, recorded = FakeWriter(), failed is None
    worker = make(writer)
    recorder(lambda _: None)
    track.follow(tmp_path, tmp_path / "live")
    live = trained(tmp_path / "live")
    end = time.monotonic() + 60
    while "loss 1" not in writer.done:
        assert worker.step()
        assert time.monotonic() < end
        time.sleep(0.02)
    path, lock = track._following.pop(tmp_path.resolve())
    if failed:
        live.failed(failed)
    else:
        path.unlink()  # the record is next
    lock.close()
    worker.step()
    assert writer.done == ["begin training-1", "loss 1"] + ([] if recorded else ["stop diverged"])
    assert not path.exists()
    assert not worker.followers


def test_a_training_that_was_killed_together_with_its_recorder_is_ended_by_the_next(
    tmp_path: Path, make: Callable[..., Any]
) -> None:
    writer = FakeWriter()
    _, lock = Outbox(tmp_path).follow(tmp_path / "live")
    trained(tmp_path / "live")
    lock.close()
    make(writer).step()
    assert writer.done == ["begin training-1", "loss 1", "stop None"]
