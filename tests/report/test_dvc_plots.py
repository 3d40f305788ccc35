"""The plots of DVC: templates that draw each row in its colour, and a page that needs no network."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from pretextbench.base.colours import line_colour
from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.report.output import budgets_csv
from pretextbench.report.tables import leaderboard_csv
from stages.compare import write_vega
from tests.ranking.fakes import runs

PLOTS = Path(__file__).parents[2] / ".dvc" / "plots"
ROWS = {"simclr": 0.75, "a method of others": 0.64, "random": 0.52}


@pytest.fixture(scope="module")
def tables():
    results = runs(ROWS)
    for run in results:
        run.metrics["data"]["train_labelled"] = 6000
    comparison = compare(results, Compare(resamples=50))
    return {"bars": leaderboard_csv(comparison), "lines": budgets_csv(comparison, results)}


@pytest.mark.parametrize("template", ["bars", "lines"])
def test_each_row_has_its_colour_and_its_name(tables, template):
    vl_convert = pytest.importorskip("vl_convert")
    lines = [{**line, "rev": "workspace"} for line in csv.DictReader(io.StringIO(tables[template]))]
    text = (PLOTS / f"{template}.json").read_text().replace('"<DVC_METRIC_DATA>"', json.dumps(lines))
    for anchor, value in {"X": "labels", "Y": "accuracy", "X_LABEL": "labels", "Y_LABEL": "%", "TITLE": "t"}.items():
        text = text.replace(f"<DVC_METRIC_{anchor}>", value)
    drawn = vl_convert.vegalite_to_svg(text, vl_version="5.20")
    for name in ROWS:
        assert f">{name}<" in drawn
        marks = re.findall(rf'aria-label="[^"]*name: {name}[^"]*"[^>]*"{line_colour(name)}"', drawn)
        assert marks, name
    assert line_colour("simclr") != line_colour("random")


def test_the_page_asks_the_network_only_where_vega_is_not_there():
    page = (PLOTS / "page.html").read_text()
    assert page.count("https://") == 1
    assert "https://" in page[page.index("function fromNetwork") : page.index("</script>\n<script src")]
    assert '<script src="../.dvc/tmp/vega.js" onerror="fromNetwork()"></script>' in page
    assert "{scripts}" not in page, "DVC's own scripts come from the network"


def test_vega_is_written_once_and_only_into_a_project(tmp_path):
    pytest.importorskip("vl_convert")
    target = tmp_path / "tmp" / "vega.js"
    write_vega(target)
    assert not target.parent.exists()
    target.parent.mkdir()
    write_vega(target)
    assert "window.vegaEmbed=" in target.read_text()
    target.write_text("kept")
    write_vega(target)
    assert target.read_text() == "kept"
