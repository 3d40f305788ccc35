"""A training that MLflow shows while it trains: killed, resumed, recorded, each point once; real recorders."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import fields, outbox, stage_records
from pretextbench.track.spool import Spool
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType"),
]


def add_values(spool: Spool, steps: range) -> None:
    for step in steps:
        spool.values(step, step / 10, {"train/loss": 1 / step})


def history(folder: Path, last: int) -> None:
    rows = [f"{step},{step / 10 + 5},{1 / step}" for step in range(1, last + 1)]  # other seconds: trained twice
    (folder / "history.csv").write_text("\n".join(["step,seconds,loss", *rows]) + "\n")


@pytest.fixture
def card(trained: Path, empty_store: None) -> dict[str, Any]:
    """The card of a training with the key of the training; the store exists."""
    path = trained / "encoder.json"
    content: dict[str, Any] = json.loads(path.read_text()) | {"training": "0123456789abcdef", "steps": 6}
    path.write_text(json.dumps(content))
    return content


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while not (result := condition()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return result


def all_runs(root: Path) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def points(root: Path, run: Any, name: str) -> list[tuple[int, float, int]]:
    from mlflow.tracking import MlflowClient

    history = MlflowClient(f"sqlite:///{root}/mlflow.db").get_metric_history(run.info.run_id, name)
    return [(point.step, point.value, point.timestamp - run.info.start_time) for point in history]


def stop(root: Path) -> None:
    """What the stage's death is to its recorder."""
    track._following.pop(root.resolve())[1].close()


def test_a_training_is_seen_while_it_trains_and_its_record_completes_the_same_run(
    trained: Path, card: dict[str, Any], tmp_path: Path, starts: list[Path]
) -> None:
    from pretextbench.track import run_tags

    live, root = Spool(tmp_path / "live"), tmp_path
    track.follow(root, live.folder)
    live.begin(stage_records.started(card, tmp_path, "flowers"))
    add_values(live, range(1, 4))
    run = until(lambda: [r for r in all_runs(root) if "Training/Loss" in r.data.metrics])[0]
    assert run.info.status == "RUNNING"
    assert run.data.params["params.temperature"] == "0.5"
    assert [r[0] for r in points(root, run, "Training/Loss")] == [1, 2, 3]
    until(lambda: [name for name in all_runs(root)[0].data.metrics if name.startswith("system/")])
    stop(root)
    until(lambda: all_runs(root)[0].info.status == "KILLED")

    again = Spool(tmp_path / "live")  # it goes on from step 2
    track.follow(root, again.folder)
    again.begin(stage_records.started(card, tmp_path, "flowers"))
    add_values(again, range(2, 6))
    until(lambda: len(points(root, run, "Training/Loss")) == 5)
    assert all_runs(root)[0].info.status == "RUNNING"
    assert len(starts) == 1, "both trainings have one recorder"
    again.notes(["it collapsed"])
    history(trained, 6)
    subject = stage_records.pretrained(trained, tmp_path, None, again.folder, "flowers")
    run_id = track.record(type(subject)(**{**subject.__dict__, "encoder": None}), root)
    assert run_id == run.info.run_id
    (final,) = all_runs(root)
    assert final.info.status == "FINISHED"
    assert run_tags.bookkeeping(final.data.tags)["key"] == subject.key
    assert final.data.tags["warning"] == "it collapsed"
    loss = points(root, final, "Training/Loss")
    assert [p[:2] for p in loss] == [(step, 1 / step) for step in range(1, 7)]
    assert [p[2] for p in loss] == [
        100,
        200,
        300,
        400,
        500,
        5600,
    ]  # ms: of the first report; the last point is from the record
    assert points(root, final, "Training health/Rank") == [(6, 7.5, 12_500)]


def test_a_store_that_is_away_while_it_trains_loses_nothing(
    trained: Path, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretextbench.track.delivery import replay

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    live = Spool(tmp_path / "live")
    track.follow(tmp_path, live.folder)
    live.begin(stage_records.started(card, tmp_path, "flowers"))
    add_values(live, range(1, 4))
    live.values(2, 0.2, {"health/rank": 3.0})
    history(trained, 6)
    subject = stage_records.pretrained(trained, tmp_path, None, live.folder, "flowers")
    assert track.record(type(subject)(**{**subject.__dict__, "encoder": None}), tmp_path) is None
    assert len(outbox.waiting(tmp_path)) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert replay(tmp_path, lambda _: None) == 0
    (run,) = all_runs(tmp_path)
    assert [p[0] for p in points(tmp_path, run, "Training/Loss")] == [1, 2, 3, 4, 5, 6]
    assert [p[:2] for p in points(tmp_path, run, "Training health/Rank")] == [(2, 3.0), (6, 7.5)]


def test_trained_once_more_to_the_same_weights_it_is_the_same_run(
    trained: Path, card: dict[str, Any], tmp_path: Path
) -> None:
    from pretextbench.track.writer import Writer

    writer, subject = Writer(tmp_path), stage_records.pretrained(trained, tmp_path)
    subject = type(subject)(**{**subject.__dict__, "encoder": None})
    first = writer.write(subject)
    second = writer.begin(stage_records.started(card, tmp_path, "flowers"))
    assert first != second
    assert writer.write(subject) == first
    (run,) = all_runs(tmp_path)
    assert run.info.run_id == first


def test_a_training_that_was_given_up_or_has_failed_does_not_run_for_ever(card: dict[str, Any], tmp_path: Path) -> None:
    from pretextbench.track.writer import Writer

    writer = Writer(tmp_path)
    other = card | {"training": "fedcba9876543210"}
    first = writer.begin(stage_records.started(card, tmp_path, "flowers"))
    second = writer.begin(stage_records.started(other, tmp_path, "flowers"), fields.provisional(card))
    writer.stop(second, "diverged")
    statuses = {run.info.run_id: run.info.status for run in all_runs(tmp_path)}
    assert statuses == {first: "KILLED", second: "FAILED"}
