"""Records written late equal records written at once, each exactly once, whatever process is killed."""

import dataclasses
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pretextbench import track
from pretextbench.base.files import sha256
from pretextbench.track import Record, outbox, records, stage_records
from pretextbench.track.delivery import replay
from tests.track.stores import contents

# All from MLflow 3.17's own code: its tables, and its chat models, imported with every logged model.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType"),
]


Make = Callable[[str], Path]


class Died(BaseException):
    """The process is killed here. Not an Exception: nothing may handle it."""


@pytest.fixture
def reports(trained: Path, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records of three stages in their order; the encoder is logged without torch."""
    quick = SimpleNamespace(log=_log_small)  # instead of the module that imports torch
    monkeypatch.setitem(sys.modules, "pretextbench.track.model", quick)
    monkeypatch.setattr(track, "model", quick, raising=False)
    (trained / records.WEIGHTS).write_bytes(b"weights")
    card = trained / "encoder.json"
    card.write_text(card.read_text().replace("ab" * 32, sha256(trained / records.WEIGHTS)))
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "recommendation.md").write_text("Use simclr.")
    subject = [
        stage_records.pretrained(trained, tmp_path),
        stage_records.evaluated(evaluated, trained),
        stage_records.compared(reports, [trained]),
    ]
    return [dataclasses.replace(one, reported=1.8e9 + i) for i, one in enumerate(subject)]


def _log_small(run_id: str, folder: Path, key: str, layer: str) -> str:
    """In the order of MLflow's own: there, half written, ready."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    model = client.create_logged_model(client.get_run(run_id).info.experiment_id, "encoder", run_id, {"layer": layer})
    client.log_model_artifact(model.model_id, str(folder / records.WEIGHTS))
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_uri)


@pytest.fixture
def project(tables: Path, tmp_path: Path) -> Make:
    """Makes a project with a store of its own."""

    def make(name: str) -> Path:
        os.environ["MLFLOW_TRACKING_URI"] = ""  # MLflow sets it to the store that was opened last
        (tmp_path / name).mkdir()
        shutil.copy(tables, tmp_path / name)
        return tmp_path / name

    return make


def written(root: Path) -> dict[str, Any]:
    scratch = root / f"read-{len(list(root.glob('read-*')))}"
    return contents(f"sqlite:///{root}/mlflow.db", scratch)


@pytest.fixture
def direct(reports: list[Record], project: Make) -> dict[str, Any]:
    """What a store holds that was there all the time."""
    from pretextbench.track.writer import Writer

    root = project("direct")
    for one in reports:
        Writer(root).write(one)
    return written(root)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_written_late_and_in_any_order_it_is_the_same(
    order: tuple[int, ...], reports: list[Record], direct: dict[str, Any], project: Make
) -> None:
    from pretextbench.track.delivery import deliver
    from pretextbench.track.writer import Writer

    root, lines = project("late"), list[str]()
    for i in order[:1]:  # the store is back for one stage, and then what was kept follows
        deliver(Writer(root), reports[i], digests(reports[i]))
    for i in order[1:]:
        outbox.save(reports[i], root)
    assert replay(root, lines.append) == 0
    assert len(lines) == 3  # the store, and a line per record
    late = written(root)
    if order[0] == 1:  # MLflow keeps the start of whoever creates the run, and here evaluate did
        late, direct = (
            {k: {**run, "times": 0, "points": _values(run)} for k, run in d.items()} for d in (late, direct)
        )
    assert late == direct
    (encoder,) = [run for run in late.values() if run["parent"]]
    assert encoder["models"] == ["READY"]
    assert _values(encoder)["Training/Loss"] == [(1, 2.5), (2, 1.5)]
    assert not outbox.waiting(root)


def digests(record: Record) -> dict[str, str]:
    """The hashes of its files, as the outbox keeps them."""
    return {file: sha256(Path(file)) for files in record.files.values() for file in files}


def _values(run: dict[str, Any]) -> dict[str, Any]:
    return {name: [(point[0], point[-1]) for point in points] for name, points in run["points"].items()}


def test_killed_between_any_two_requests_each_report_is_written_once(
    reports: list[Record], direct: dict[str, Any], project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    for lives in itertools.count(1):
        root = project(f"late-{lives}")
        for one in reports:
            outbox.save(one, root)
        with monkeypatch.context() as patched:
            _die_after(patched, lives)
            try:
                replay(root, lines.append)
                break  # it has outlived all there was to do
            except Died:
                pass
        assert replay(root, lines.append) == 0
        assert written(root) == direct, f"after {lives} requests"
    assert lives > 25


def _die_after(patched: pytest.MonkeyPatch, lives: int) -> None:
    """Raise `Died` right after the `lives`-th write request."""
    from mlflow.tracking import MlflowClient

    left = iter(range(lives - 1, -1, -1))

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def after(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            if not next(left):
                raise Died
            return result

        return after

    writes = ("create_run", "log_batch", "log_artifact", "set_tag", "set_terminated", "create_logged_model")
    for name in (*writes, "log_model_artifact", "finalize_logged_model", "delete_logged_model"):
        patched.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    path_unlink = Path.unlink  # dies also before it deletes what it has written, and after
    patched.setattr(
        Path, "unlink", lambda p, **k: dying(path_unlink)(p, **k) if p.suffix == ".json" else path_unlink(p, **k)
    )


def test_an_older_report_does_not_undo_a_newer_one(reports: list[Record], project: Make) -> None:
    from pretextbench.track.writer import Writer

    root = project("late")
    old, new = (
        reports[1],
        dataclasses.replace(reports[1], tags={"knn_layer": "layer1"}, reported=reports[1].reported + 9),
    )
    Writer(root).write(new)
    before = written(root)
    outbox.save(old, root)
    assert replay(root, print) == 0
    assert written(root) == before


def test_what_a_slow_server_created_twice_becomes_one(reports: list[Record], project: Make) -> None:
    from pretextbench.track import run_tags
    from pretextbench.track.writer import Writer

    writer = Writer(project("slow"))
    for _ in range(2):  # the request that got no answer in time, and its repetition
        writer.client.create_run(
            writer.experiment(reports[1].experiment), 1, {run_tags.TAG: run_tags.text({"key": reports[1].key})}
        )
    assert len({writer.write(reports[i]) for i in (1, 0)}) == 1
    assert list(written(writer.root)) == [reports[0].key]


def test_one_bad_record_does_not_hold_up_the_others(reports: list[Record], project: Make) -> None:
    root, lines = project("late"), list[str]()
    outbox.save(Record("k", "odd", metrics={"no:such*name": 1.0}, stage="evaluate", reported=1.0), root)
    (outbox.folder(root) / "00000000000000-torn-pretrain.json").write_text("{")
    outbox.save(reports[1], root)
    assert replay(root, lines.append) == 2
    assert "stays: " in lines[1]
    assert "stays: MlflowException: " in lines[2]
    assert reports[1].key in written(root)
    assert len(outbox.waiting(root)) == 2


def test_two_that_write_one_run_at_once_write_one_run(
    reports: list[Record], project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    from pretextbench.track.writer import Writer

    root, create = project("busy"), MlflowClient.create_run
    writers = [Writer(root) for _ in range(2)]
    # Long enough for the other to look for the run, and not find it.
    monkeypatch.setattr(MlflowClient, "create_run", lambda *arguments: time.sleep(1) or create(*arguments))
    with ThreadPoolExecutor(2) as pool:
        ids = list(pool.map(lambda writer, one: writer.write(one), writers, reports))
    assert len(set(ids)) == 1
    assert list(written(root)) == [reports[0].key]
