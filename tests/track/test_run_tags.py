"""Bookkeeping in one tag: read as written, within the limit, from stores of earlier versions; no empty tags."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pretextbench.track import records, run_tags, stage_records

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # SQLAlchemy of MLflow

EARLIER = {
    "pretextbench.key": "simclr-0-ab",
    "pretextbench.told.pretrain": "17",
    "pretextbench.told.evaluate": "18",
    "pretextbench.marked": "19",
    "pretextbench.members": "aa bb",
    "pretextbench.marks": '{"aa":{"tags":{"rank":"1"}}}',
    "method": "simclr",
}


def test_what_an_earlier_version_has_written_is_read() -> None:
    assert run_tags.bookkeeping(EARLIER) == {
        "key": "simclr-0-ab",
        "told": {"pretrain": 17, "evaluate": 18},
        "marked": 19,
        "members": ["aa", "bb"],
        "marks": {"aa": {"tags": {"rank": "1"}}},
    }
    assert run_tags.bookkeeping({"method": "simclr"}) == {}


def test_it_is_read_as_written() -> None:
    notes = {"key": "a-0-ff", "told": {"begin": 5}, "members": ["aa"], "marks": {"aa": {}}}
    assert run_tags.bookkeeping({run_tags.TAG: run_tags.text(notes)}) == notes


def test_what_does_not_fit_is_left_out_marks_first() -> None:
    marks = {f"{i:012x}": {"tags": {"rank": str(i), "tie": "a", "best": "False"}} for i in range(600)}
    notes: dict[str, Any] = {"key": "comparison-0", "marked": 5, "members": list(marks)[:100], "marks": marks}
    kept = json.loads(run_tags.text(notes))
    assert (kept["key"], kept["members"]) == ("comparison-0", notes["members"])
    assert len(kept["marks"]) > 50
    assert list(kept["marks"].items()) == list(marks.items())[: len(kept["marks"])]
    text = run_tags.text(notes | {"members": list(marks)})
    assert 4900 < len(text) <= run_tags.LIMIT
    assert json.loads(text)["members"] == list(marks)[: len(json.loads(text)["members"])]


def test_empty_tags_are_not_set_and_removed_where_they_were() -> None:
    run: Any = SimpleNamespace(data=SimpleNamespace(tags={"warning": "it collapsed"}))
    assert run_tags.legible(run, {"tie": "", "warning": "", "rank": "1"}) == ({"rank": "1"}, ["warning"])


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_a_run_of_an_earlier_version_is_continued(trained: Path, evaluated: Path, tmp_path: Path) -> None:
    """Its tags become the one tag, its comparison is found, and an older report is still ignored."""
    from pretextbench.track.writer import Writer

    writer = Writer(tmp_path)
    first = replace(stage_records.pretrained(trained, tmp_path), reported=10.0)
    judged = replace(stage_records.evaluated(evaluated, trained), encoder=None, reported=12.0)
    old = {"pretextbench.key": first.key, "pretextbench.told.pretrain": "11000", "warning": ""}
    number = writer.experiment(first.experiment)
    run_id = writer.client.create_run(number, 1, old, "simclr-3").info.run_id
    members = {"pretextbench.members": records.short_hash(first.key), "pretextbench.marked": "11500"}
    marks = {records.short_hash(first.key): {"tags": {"rank": "2", "tie": "", "best": "False"}}}
    comparison = {"pretextbench.key": "comparison-1", **members, "pretextbench.marks": json.dumps(marks)}
    parent = writer.client.create_run(number, 1, comparison, "comparison of 1 encoders").info.run_id
    assert writer.write(first) == run_id
    assert "Pretraining seconds" not in writer.client.get_run(run_id).data.metrics, "it was reported before"
    assert writer.write(judged) == run_id
    run = writer.client.get_run(run_id)
    assert run.data.metrics["k-NN accuracy"] == 0.5
    assert (run.data.tags["mlflow.parentRunId"], run.data.tags["rank"]) == (parent, "2")
    assert run_tags.bookkeeping(run.data.tags)["told"] == {"pretrain": 11_000, "evaluate": 12_000}
    assert [name for name in run.data.tags if name.startswith(run_tags.EARLIER)] == []
    assert "tie" not in run.data.tags
