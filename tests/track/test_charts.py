"""The view of a comparison: saved with the experiment, looked up in the store, and made of metrics that runs have."""

import hashlib
import json
from pathlib import Path

import pytest

from pretextbench.base.measure import MEASURES
from pretextbench.track import Record, charts, titles

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # SQLAlchemy of MLflow


def charts_of(view: dict[str, object]) -> list[dict[str, object]]:
    return list(view["compareRunCharts"])  # type: ignore[call-overload]


def test_charts_lie_in_the_one_section_that_is_open() -> None:
    view = json.loads(charts.state())
    shown = [section["uuid"] for section in view["compareRunSections"] if section["display"]]
    assert shown == [charts.SECTION]
    assert {chart["metricSectionId"] for chart in charts_of(view)} == set(shown)
    names = [chart["uuid"] for chart in charts_of(view)]
    assert len(set(names)) == len(names) >= 5


@pytest.mark.parametrize("task", MEASURES)
def test_the_tag_fits_into_mlflow(task: str) -> None:
    assert len(charts.state(task)) < 5000


@pytest.mark.parametrize("task", MEASURES)
def test_the_charts_have_the_titles_that_the_records_give(task: str) -> None:
    key = MEASURES[task].key
    probe = {"best": "layer1", "layers": {"layer1": {"test": {key: 0.5}}}}
    cost = {"seconds": 1, "images_per_second": 1, "peak_memory_bytes": 1, "parameters": 1}
    metrics = {"task": {"name": task}, "linear": probe, "knn": probe, "budgets": {"10%": {key: 0.4}}}
    known = {*titles.evaluation(metrics), *titles.cost(cost), titles.curve("train/loss")}
    view = json.loads(charts.state(task))
    named = [chart.get("metricKey") for chart in charts_of(view)] + [
        chart[axis]["key"]  # type: ignore[index]
        for chart in charts_of(view)
        for axis in ("xaxis", "yaxis")
        if axis in chart
    ]
    assert set(filter(None, named)) <= known
    assert view["orderByKey"] == f"metrics.`{titles.linear(MEASURES[task])}`"
    columns = [name.removeprefix("metrics.").strip("`") for name in view["selectedColumns"] if "metrics." in name]
    assert set(columns) <= known


def test_a_view_of_an_earlier_version_is_ours_and_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "EARLIER_VIEW", hashlib.sha256(b"a view").hexdigest()[:16])
    assert charts.is_own("a view")
    assert not charts.is_own("a view.")


def test_a_view_that_somebody_has_changed_is_not_ours() -> None:
    assert charts.is_own("")
    assert all(charts.is_own(charts.state(task)) for task in MEASURES)
    assert not charts.is_own(json.dumps({"orderByKey": "metrics.`linear`"})), "an earlier one, changed"
    assert not charts.is_own(json.dumps(json.loads(charts.state()) | {"orderByAsc": True}))


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_an_experiment_is_made_with_its_view(tmp_path: Path) -> None:
    from pretextbench.track.writer import Writer

    writer = Writer(tmp_path)
    view = writer.client.get_experiment(writer.experiment("flowers"))
    assert json.loads(view.tags[charts.TAG]) == json.loads(charts.state())


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_the_experiment_has_the_recommendation_and_the_charts_of_its_measure(tmp_path: Path) -> None:
    from pretextbench.track.writer import NOTE, Writer

    writer = Writer(tmp_path)

    def tags() -> dict[str, str]:
        return dict(writer.client.get_experiment_by_name("flowers").tags)

    def comparison(text: str, reported: float) -> Record:
        return Record(f"k{reported}", "c", summary=text, stage="compare", experiment="flowers", reported=reported)

    writer.write(Record("a", "a-0", measure="number", stage="evaluate", experiment="flowers"))
    assert tags()[charts.TAG] == charts.state("number")
    run_id = writer.write(comparison("Use simclr.", 2.0))
    assert tags()[NOTE].startswith("Use simclr.\n\n[")
    assert f"runs/{run_id}/artifacts/report.html" in tags()[NOTE]
    writer.write(comparison("Use rotation.", 1.0))
    assert tags()[NOTE].startswith("Use simclr."), "an older comparison came later"
    writer.write(comparison("Use byol.", 3.0))
    assert tags()[NOTE].startswith("Use byol.")
    number = writer.experiment("flowers")
    writer.client.set_experiment_tag(number, NOTE, "my words")
    writer.client.set_experiment_tag(number, charts.TAG, "{}")
    writer.write(comparison("Use dino.", 4.0))
    writer.write(Record("a", "a-0", measure="class", stage="evaluate", experiment="flowers", reported=5.0))
    assert (tags()[NOTE], tags()[charts.TAG]) == ("my words", "{}")


@pytest.mark.slow
def test_the_page_is_that_of_the_newest_comparison(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    file = tmp_path / "mlflow.db"
    assert charts.page(str(file)) == charts.TABLE  # no file, and none is made
    assert not file.exists()
    client = MlflowClient(f"sqlite:///{file}")
    client.create_experiment("somebody's")
    assert charts.page(str(file)) == charts.TABLE
    ids = [client.create_experiment(name, tags={charts.TAG: charts.state()}) for name in ("one", "two", "gone")]
    client.delete_experiment(ids[2])
    assert charts.page(str(file)).startswith(f"#/experiments/{ids[1]}/runs?")
    assert f"viewStateShareKey={charts.NAME}" in charts.page(str(file))


def test_a_file_that_is_no_store_has_the_general_page(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all" * 100)
    assert charts.page(str(tmp_path / "mlflow.db")) == charts.TABLE
