"""View of a comparison in MLflow's web pages: six charts, the best run first, all other sections collapsed.

By default MLflow draws one chart per metric (over a hundred), sorted by name. MLflow saves a shared view as a tag of
the experiment, and the address of the page contains the name of the view. The view here is written with the experiment.
MLflow is not imported, because that takes seconds.
"""

import colorsys
import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

NAME = "comparison"
TAG = f"mlflow.sharedViewState.{NAME}"  # the tag that MLflow's button `Share` writes
SECTION, FOLDED = "Comparison", ("Model metrics", "System metrics", "evaluate", "health", "monitor", "row", "train")
TABLE = "#/experiments?workflowType=machine_learning"  # without it MLflow opens its pages for language models
RUNS = 20  # in a chart of bars
COLUMNS = ("metrics.`linear`", "metrics.`knn`", "metrics.`seconds`", "tags.`tie`", "attributes.`Dataset`")
BARS = {
    "linear": "Linear probe, test accuracy",
    "knn": "k-NN, test accuracy",
    "evaluate/budgets.1_.top1": "1 % of the labels, test accuracy",
    "seconds": "Seconds of pretraining",
}


NEWEST = """
select experiments.experiment_id from experiments join experiment_tags using (experiment_id)
where key = ? and lifecycle_stage = 'active' order by creation_time desc limit 1
"""


def page(file: str) -> str:
    """Path, below the server's address, of the charts of the newest comparison in a SQLite store.

    Without a comparison it is the list of experiments. The file is opened read-only; MLflow would create tables.
    """
    newest, address = None, f"{Path(file).resolve().as_uri()}?mode=ro"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as store:
        newest = store.execute(NEWEST, (TAG,)).fetchone()
    query = f"workflowType=machine_learning&viewStateShareKey={NAME}&compareRunsMode=CHART"
    return f"#/experiments/{newest[0]}/runs?{query}" if newest else TABLE


def state() -> str:
    """The view in MLflow's format: runs with an encoder, best linear probe first, and the charts."""
    sections = [_section(SECTION, True), *(_section(name, False) for name in FOLDED)]
    return json.dumps(
        {
            "searchFilter": "tags.kind = 'encoder'",
            "orderByKey": "metrics.`linear`",
            "orderByAsc": False,
            "selectedColumns": list(COLUMNS),  # of the table, one click away
            "runsHiddenMode": "FIRST_20_RUNS",
            "compareRunCharts": [*_bars(), _cost(), _history()],
            "compareRunSections": sections,
            "isAccordionReordered": True,
        }
    )


def colour(method: str, control: bool) -> str:
    """Colour of a method's runs in MLflow's charts, `#rrggbb`. It is the same in every comparison; controls are grey.

    The salt was chosen among 3,000 for the largest distance between the hues of the first seven methods.
    """
    number = int.from_bytes(hashlib.sha256(f"920{method}".encode()).digest()[:4], "big") / 2**32
    light, saturation = (0.3 + 0.5 * number, 0.0) if control else (0.45, 0.65)
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(number, light, saturation))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _section(name: str, open: bool) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": open, "isReordered": True, "deleted": False, "isGenerated": False}


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    fixed = {"metricSectionId": SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": RUNS}
    return {"type": kind, "uuid": name, "displayName": name, **fixed, **more}


def _bars() -> list[dict[str, Any]]:
    return [_chart("BAR", name, metricKey=metric) for metric, name in BARS.items()]


def _cost() -> dict[str, Any]:
    axes = {"xaxis": {"key": "seconds", "type": "METRIC"}, "yaxis": {"key": "linear", "type": "METRIC"}}
    return _chart("SCATTER", "Accuracy against seconds", **axes)


def _history() -> dict[str, Any]:
    scales = {"xAxisKey": "step", "yAxisKey": "metric", "scaleType": "linear", "xAxisScaleType": "linear"}
    more = {"lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "ignoreOutliers": False}
    metric = "train/loss"
    return _chart("LINE", "Loss of each method", metricKey=metric, selectedMetricKeys=[metric], **scales, **more)
