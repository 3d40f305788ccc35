"""The outbox: records that cannot be written wait in it, and their files may have changed later. No MLflow."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.base.files import sha256
from pretextbench.project.locks import locked
from pretextbench.track import Record, outbox, records
from pretextbench.track.delivery import replay


@pytest.fixture
def dead(recorder: Any) -> None:
    """A recorder that cannot write any record."""
    recorder(lambda box: [box.answer(path, {"error": "the store is on fire"}) for path in outbox.waiting(box.root)])


@pytest.mark.usefixtures("dead")
def test_a_record_that_cannot_be_written_is_kept_and_one_line_says_how_to_write_it(tmp_path: Path, caplog: Any) -> None:
    subject = Record("k", "simclr-0", {"a": 1}, {"loss": float("nan")}, stage="pretrain", members=("m",))
    with caplog.at_level(logging.WARNING):
        assert track.record(subject, tmp_path) is None
    (line,) = caplog.messages
    assert "the store is on fire" in line
    assert f"`uv run python -m pretextbench.track {tmp_path} --replay`" in line
    assert "\n" not in line
    (path,) = outbox.waiting(tmp_path)
    again = outbox.read(path).record
    assert (again.key, again.params, str(again.metrics), again.stage) == ("k", {"a": 1}, "{'loss': nan}", "pretrain")
    assert again.reported > 1.7e9  # the time of the stage, not of the replay


@pytest.mark.usefixtures("dead")
def test_one_record_is_kept_per_run_and_stage_and_the_latest_wins(tmp_path: Path) -> None:
    for stage, loss in (("pretrain", 2.0), ("evaluate", 1.0), ("pretrain", 0.5)):
        track.record(Record("k", "simclr-0", metrics={"x": loss}, stage=stage), tmp_path)
    track.record(Record("other", "simclr-1", metrics={"x": 7.0}, stage="pretrain"), tmp_path)
    saved = [outbox.read(path).record for path in outbox.waiting(tmp_path)]
    assert [(r.key, r.stage, r.metrics["x"]) for r in saved] == [
        ("k", "evaluate", 1.0),
        ("k", "pretrain", 0.5),
        ("other", "pretrain", 7.0),
    ]


@pytest.mark.usefixtures("dead")
def test_a_place_that_cannot_be_written_costs_the_record_and_nothing_else(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / ".scratch").write_text("a file")
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the record is lost" in caplog.text


def test_a_recorder_that_cannot_be_started_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    track.start_recorder(tmp_path)
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the record is kept" in caplog.text


def test_what_is_gone_or_another_by_now_is_left_out_and_said(tmp_path: Path) -> None:
    names = ("same", "changed", "gone")
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / records.WEIGHTS).write_bytes(b"weights")
    key = f"simclr-0-{sha256(tmp_path / records.WEIGHTS)}"
    files = {"": [str(tmp_path / name) for name in names]}
    path = outbox.save(Record(key, "simclr-0", files=files, encoder=str(tmp_path), reported=1.0), tmp_path)
    record, digests = outbox.read(path)
    assert records.still_valid(record, digests) == (record, [])

    (tmp_path / "changed").write_text("of another training")
    (tmp_path / "gone").unlink()
    (tmp_path / records.WEIGHTS).write_bytes(b"of another training")
    there, lines = records.still_valid(record, digests)
    assert there.files == {"": [str(tmp_path / "same")]}
    assert there.encoder is None
    assert [line.rpartition(" which ")[2] for line in lines] == [
        "is another file by now",
        "is not there any more",
        "is another one by now",
    ]
    (tmp_path / records.WEIGHTS).unlink()
    assert records.still_valid(record, digests)[1][2].endswith("which is not there any more")


def test_one_replay_is_at_work_at_a_time(tmp_path: Path) -> None:
    lines: list[str] = []
    assert replay(tmp_path, lines.append) == 0
    outbox.save(Record("k", "simclr-0"), tmp_path)
    with locked(outbox.folder(tmp_path) / ".lock"):
        assert replay(tmp_path, lines.append) == 1
    assert lines[0] == "no record is kept"
    assert lines[1].startswith("another replay is at work here")
