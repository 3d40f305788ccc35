"""The recorder: one per project and identity; it works as long as a stage does. In this process, with fake writers."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.project.locks import take
from pretextbench.track import Record, outbox
from pretextbench.track.outbox import Outbox
from tests.clock import Clock
from tests.track.fakes import FakeWriter

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")]

OLD = 1.7e9  # seconds since 1970: no stage waits for a record of that time


def save(root: Path, key: str, reported: float | None = None, identity: str | None = None) -> Path:
    box = Outbox(root, identity)
    return outbox.save(Record(key, key, reported=reported or time.time()), root, box.identity)


def test_stages_that_start_at_once_share_a_recorder(tmp_path: Path, recorder: Any) -> None:
    locks = recorder(lambda _: None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(track.start_recorder, [tmp_path] * 8))
    assert len(locks) == 1


@pytest.mark.parametrize(
    ("variable", "other"),
    [
        ("MLFLOW_TRACKING_URI", True),
        ("MLFLOW_TRACKING_PASSWORD", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("https_proxy", True),
        ("DVC_STAGE", False),
        ("PRETEXTBENCH_RECORDED", False),
    ],
)
def test_what_a_write_depends_on_is_the_identity(variable: str, other: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outbox.own_identity()
    monkeypatch.setenv(variable, "changed")
    assert (outbox.own_identity() != before) == other


def test_other_code_and_another_machine_have_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {outbox.own_identity()}
    monkeypatch.setattr(outbox.socket, "gethostname", lambda: "elsewhere")
    before.add(outbox.own_identity())
    (tmp_path / "a.py").touch()
    monkeypatch.setattr(outbox, "PACKAGE", tmp_path)
    for content in ("x", "xy"):  # an edit between two stages
        (tmp_path / "a.py").write_text(content)
        outbox._code.cache_clear()
        before.add(outbox.own_identity())
    outbox._code.cache_clear()
    assert len(before) == 4


def test_a_stage_with_another_identity_waits_for_its_own_recorder(tmp_path: Path, make: Callable[..., Any]) -> None:
    writer = FakeWriter()
    ours, theirs = save(tmp_path, "ours"), save(tmp_path, "theirs", identity="other")
    save(tmp_path, "kept", OLD, identity="other")
    assert make(writer).step()
    assert writer.done == ["ours", "kept"]
    assert outbox.waiting(tmp_path) == [theirs]
    box = Outbox(tmp_path)
    assert box.take_answer(ours) == {
        "run_id": "run of ours",
        "notes": [f"kept earlier and being written to MLflow now: 1 (see {box.log})"],
    }
    assert box.take_answer(ours) is None, "it is read once"


def test_a_record_whose_stage_waits_no_more_is_anybodys(tmp_path: Path, make: Callable[..., Any]) -> None:
    writer = FakeWriter()
    outbox.keep(save(tmp_path, "k", identity="other"))
    outbox.keep(tmp_path / "written meanwhile.other.json")
    make(writer).step()
    assert (writer.done, outbox.waiting(tmp_path)) == (["k"], [])


def test_a_record_that_another_process_has_written_is_not_waited_for(
    tmp_path: Path, recorder: Any, caplog: Any
) -> None:
    recorder(lambda box: [path.unlink() for path in outbox.waiting(box.root)])
    assert track.record(Record("k", "simclr-0"), tmp_path) == ""
    assert not caplog.messages


def test_records_of_stages_that_wait_come_first_and_each_kind_oldest_first(
    tmp_path: Path, make: Callable[..., Any]
) -> None:
    writer, now = FakeWriter(), time.time()
    for key, reported in (("d", OLD + 1), ("b", now), ("c", OLD), ("a", now - 1)):
        save(tmp_path, key, reported)
    make(writer).step()
    assert writer.done == ["a", "b", "c", "d"]


def test_a_store_that_is_away_is_waited_for_once(
    tmp_path: Path, make: Callable[..., Any], recorder: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FakeWriter(all=TimeoutError("far away"))
    worker = make(writer)
    recorder(lambda _: pytest.fail("a second recorder"))
    answered = threading.Event()
    stepping = threading.Thread(target=lambda: [worker.step() for _ in iter(lambda: answered.wait(0.05), True)])
    stepping.start()
    assert track.record(Record("a", "simclr-0"), tmp_path) is None
    answered.set()
    stepping.join()
    clock = Clock()
    monkeypatch.setattr(track, "time", clock)
    assert track.record(Record("b", "simclr-1"), tmp_path) is None
    assert clock.now == 0
    assert len(caplog.messages) == 2
    assert all("TimeoutError: far away" in line and "the record is kept" in line for line in caplog.messages)
    writer.errors.clear()
    worker.step()
    assert not writer.done, "it rests between two tries"
    worker.next_try = 0.0
    worker.step()
    assert (writer.done, outbox.waiting(tmp_path), Outbox(tmp_path).outage()) == (["a", "b"], [], None)


def test_a_record_on_which_the_store_fails_holds_up_no_other(tmp_path: Path, make: Callable[..., Any]) -> None:
    writer = FakeWriter(bad=ValueError("no number"), slow=TimeoutError("too large"))
    bad, slow = save(tmp_path, "bad"), save(tmp_path, "slow", OLD)
    save(tmp_path, "good", OLD - 1)
    worker = make(writer)
    worker.step()
    worker.step()
    assert writer.done == ["good"]
    assert Outbox(tmp_path).take_answer(bad) == {"error": "ValueError: no number"}
    assert Outbox(tmp_path).outage() is None
    assert outbox.waiting(tmp_path) == [slow, bad]


def test_a_record_that_hangs_ends_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretextbench.track import delivery

    codes, lines, ended = list[int](), list[str](), threading.Event()
    monkeypatch.setattr(delivery.os, "_exit", lambda code: (codes.append(code), ended.set()))
    box = Outbox(tmp_path)
    box.folder.mkdir(parents=True)
    monkeypatch.setattr(delivery, "TIMEOUT", 1)
    with delivery.time_limit(box, lines.append):
        pass
    assert not ended.wait(1.2), "the clock is stopped"
    monkeypatch.setattr(delivery, "TIMEOUT", 0.05)
    with delivery.time_limit(box, lines.append):
        assert ended.wait(10)
    assert codes == [1]
    assert box.outage() == "no answer within 0.05 s"


def test_a_recorder_that_hangs_costs_a_warning(
    tmp_path: Path, recorder: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(lambda _: None)
    clock = Clock()
    monkeypatch.setattr(track, "time", clock)
    for limit in (30.0, 60.0):  # the second stage knows it
        assert track.record(Record("k", "simclr-0"), tmp_path, timeout=limit) is None
        assert clock.now == pytest.approx(30, abs=1)
    assert "simclr-0 is not recorded in MLflow" in caplog.text
    assert caplog.text.count("no answer within 30 s") == len(caplog.records) == 2


def test_a_recorder_that_crashes_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho half\necho the disk is on fire >&2\n")
    python.chmod(0o700)
    monkeypatch.setattr(outbox.sys, "executable", str(python))
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the disk is on fire" in caplog.text


def test_it_ends_when_no_stage_is_at_work_and_leaves_no_lock_files(
    tmp_path: Path, make: Callable[..., Any], clock: Clock
) -> None:
    worker, box = make(FakeWriter()), Outbox(tmp_path)
    track.keep_recorder(tmp_path)
    (box.folder / "older.users").touch()
    other = take(box.folder / "other.users", shared=True)
    assert other
    for _ in range(3):
        assert worker.step()
        clock.sleep(20)
    assert worker.step()
    track._working.pop(box.users).close()
    clock.sleep(14)
    save(tmp_path, "last")
    assert worker.step()
    clock.sleep(1)
    assert not worker.step()
    assert {path.name for path in box.folder.iterdir()} == {"other.users"}
    other.close()


@pytest.mark.parametrize("removed", ["project", "project/.scratch"])
def test_it_ends_when_its_project_is_removed(removed: str, tmp_path: Path, make: Callable[..., Any]) -> None:
    worker = make(FakeWriter(), Outbox(tmp_path / "project"))
    assert worker.step()
    shutil.rmtree(tmp_path / removed)
    assert not worker.step()
    assert not (tmp_path / "project/.scratch").exists()


@pytest.mark.usefixtures("empty_store")
def test_a_store_that_was_replaced_is_opened_anew(tmp_path: Path, make: Callable[..., Any]) -> None:
    from pretextbench.track.writer import Writer

    writer = FakeWriter()
    worker = make(writer)
    writer.stale = True
    save(tmp_path, "k")
    worker.step()
    assert writer.done[0] == "restart"
    real = Writer(tmp_path)
    assert not real.is_stale(), "not opened yet"
    _ = real.client
    assert not real.is_stale()
    os.replace(tmp_path / "mlflow.db", tmp_path / "away.db")
    assert real.is_stale()
