"""The view of a comparison: saved with the experiment, looked up in the store, and made of metrics that runs have."""

import json
from pathlib import Path

import pytest

from pretextbench.track import charts
from pretextbench.track.fields import numbers

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # SQLAlchemy of MLflow

BUILT_IN = ("simclr", "rotation", "denoising", "context-encoder", "colorization", "jigsaw", "relative-location")


def charts_of(view: dict[str, object]) -> list[dict[str, object]]:
    return list(view["compareRunCharts"])  # type: ignore[call-overload]


def test_charts_lie_in_the_one_section_that_is_open() -> None:
    view = json.loads(charts.state())
    shown = [section["uuid"] for section in view["compareRunSections"] if section["display"]]
    assert shown == [charts.SECTION]
    assert {chart["metricSectionId"] for chart in charts_of(view)} == set(shown)
    names = [chart["uuid"] for chart in charts_of(view)]
    assert len(set(names)) == len(names) >= 5


def test_the_tag_fits_into_mlflow() -> None:
    assert len(charts.state()) < 5000


def test_a_chart_of_few_labels_has_the_name_that_the_evaluation_gives_it() -> None:
    (name,) = numbers({"budgets": {"1%": {"top1": 0.5}}})
    assert f"evaluate/{name}" in charts.BARS


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_an_experiment_is_made_with_its_view(tmp_path: Path) -> None:
    from pretextbench.track.writer import Writer

    writer = Writer(tmp_path)
    view = writer.client.get_experiment(writer.experiment("flowers"))
    assert json.loads(view.tags[charts.TAG]) == json.loads(charts.state())


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


def test_methods_have_colours_of_their_own_and_controls_none() -> None:
    colours = {name: charts.colour(name, False) for name in BUILT_IN}
    assert len(set(colours.values())) == len(BUILT_IN)
    grey = charts.colour("random", True)
    assert grey[1:3] == grey[3:5] == grey[5:7]
    assert grey != charts.colour("supervised", True)


@pytest.mark.parametrize("name", ["a", "an-odd-name", "x" * 80])
def test_any_name_has_a_colour(name: str) -> None:
    assert int(charts.colour(name, False)[1:], 16) >= 0
