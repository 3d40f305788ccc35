"""Content of a run in an MLflow store: points, numbers, tables, the data set. Imports MLflow.

Writing again what is there changes nothing.
"""

import contextlib
import getpass
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run
from mlflow.tracking import MlflowClient

from pretextbench.track import titles
from pretextbench.track.records import Point, Scalar, git_commit

TABLES = "mlflow.loggedArtifacts"  # tag in which MLflow looks for tables
BATCHES = {"metrics": 500, "params": 100, "tags": 100}  # per request; the servers' limits are 1000, 100 and 100


def origin(root: Path) -> dict[str, str]:
    """MLflow's tags for the columns User, Source and Version."""
    tags = {"mlflow.source.name": "pretextbench", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in some containers
        tags["mlflow.user"] = getpass.getuser()
    if commit := git_commit(root):
        tags["mlflow.source.git.commit"] = commit
    return tags


def write_points(client: MlflowClient, run: Run, points: Sequence[Point]) -> None:
    """Write the points whose step is missing in the store, under the titles of their curves.

    Of two points with the same step the first is written. Times count from the start of the run, so that two writers of
    one point write the same row.
    """
    shown = [(titles.curve(name), step, seconds, value) for name, step, seconds, value in points]
    new = {(title, step): (seconds, value) for title, step, seconds, value in reversed(shown) if title}
    for name in {name for name, _ in new} & set(run.data.metrics):
        for point in client.get_metric_history(run.info.run_id, name):
            new.pop((name, point.step), None)
    start = run.info.start_time
    metrics = [Metric(n, x, start + round(s * 1000), step) for (n, step), (s, x) in reversed(new.items())]
    log(client, run, "metrics", metrics)


def write_values(client: MlflowClient, run: Run, metrics: Mapping[str, float], reported: int) -> None:
    """Write final values that are missing, with the time `reported` (ms)."""
    new = [m for m in metrics.items() if not _is_equal(run.data.metrics.get(m[0]), m[1])]
    log(client, run, "metrics", [Metric(name, float(value), reported, 0) for name, value in new])


def log(client: MlflowClient, run: Run, kind: str, entities: list[Any]) -> None:
    """Log metrics, parameters or tags (`kind`), in as many requests as their number needs."""
    for start in range(0, len(entities), BATCHES[kind]):
        client.log_batch(run.info.run_id, **{kind: entities[start : start + BATCHES[kind]]})


def _is_equal(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


def write_table(client: MlflowClient, run: Run, file: str, columns: Mapping[str, list[Scalar]]) -> None:
    """Replace a table; `MlflowClient.log_table` would append its rows."""
    rows = list(zip(*columns.values(), strict=True))
    client.log_text(run.info.run_id, json.dumps({"columns": list(columns), "data": rows}), file)
    known, entry = json.loads(run.data.tags.get(TABLES, "[]")), {"path": file, "type": "table"}
    if entry not in known:
        client.set_tag(run.info.run_id, TABLES, json.dumps([*known, entry]))


def write_dataset(client: MlflowClient, run: Run, data: Mapping[str, str]) -> None:
    """Log the data set of a run, if it is missing."""
    if any(known.dataset.digest.startswith(data["digest"]) for known in run.inputs.dataset_inputs):
        return
    dataset = Dataset(data["name"], data["digest"], "local", data["source"], data["schema"], data["profile"])
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
