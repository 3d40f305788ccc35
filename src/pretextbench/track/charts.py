"""View of a comparison in MLflow's web pages: six charts, the best run first, all other sections collapsed.

By default MLflow draws one chart per metric (over a hundred), sorted by name. MLflow saves a shared view as a tag of
the experiment, and the address of the page contains the name of the view. The view here is written with the experiment.
MLflow is not imported, because that takes seconds.
"""

import contextlib
import functools
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from pretextbench.base.measure import MEASURES
from pretextbench.track import titles

NAME = "comparison"
TAG = f"mlflow.sharedViewState.{NAME}"  # the tag that MLflow's button `Share` writes
SECTION, FOLDED = "Comparison", ("Model metrics", "System metrics", "Training", "Training health")
TABLE = "#/experiments?workflowType=machine_learning"  # without it MLflow opens its pages for language models
RUNS = 20  # in a chart of bars
BUDGET = "10%"  # the label budget of a chart
EARLIER_VIEW = "9f8dd86530b5792a"  # begins the hash of the view of earlier versions, whose metrics had other names


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


def is_own(view: str) -> bool:
    """Whether nobody has changed a saved view: it is one of `state`, or of an earlier version of this library."""
    own = view in map(state, MEASURES)
    return not view or own or hashlib.sha256(view.encode()).hexdigest().startswith(EARLIER_VIEW)


@functools.cache
def state(task: str = "class") -> str:
    """The view in MLflow's format: the comparison and its encoders, best linear probe first, and the charts.

    `task`: see base.measure; the charts show its measure.
    """
    measure = MEASURES[task]
    best = titles.linear(measure)
    bars = (best, titles.knn(measure), titles.with_labels(measure, BUDGET), titles.SECONDS)
    columns = [*(f"metrics.`{name}`" for name in bars), "tags.`tie`"]
    sections = [_section(SECTION, True), *(_section(name, False) for name in FOLDED)]
    return json.dumps(
        {
            "searchFilter": "tags.kind != 'trial' and tags.kind != 'tuning'",
            "orderByKey": f"metrics.`{best}`",
            "orderByAsc": False,
            "selectedColumns": columns,  # of the table, one click away
            "runsHiddenMode": "FIRST_20_RUNS",
            "compareRunCharts": [*(_chart("BAR", name, metricKey=name) for name in bars), _cost(best), _history()],
            "compareRunSections": sections,
            "isAccordionReordered": True,
        }
    )


def _section(name: str, open: bool) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": open, "isReordered": True, "deleted": False, "isGenerated": False}


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    fixed = {"metricSectionId": SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": RUNS}
    return {"type": kind, "uuid": name, "displayName": name, **fixed, **more}


def _cost(best: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": titles.SECONDS, "type": "METRIC"}, "yaxis": {"key": best, "type": "METRIC"}}
    return _chart("SCATTER", f"{best} against seconds", **axes)


def _history() -> dict[str, Any]:
    scales = {"xAxisKey": "step", "yAxisKey": "metric", "scaleType": "linear", "xAxisScaleType": "linear"}
    more = {"lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "ignoreOutliers": False}
    metric = titles.LOSS
    return _chart("LINE", metric, metricKey=metric, selectedMetricKeys=[metric], **scales, **more)
