"""Points of curves and rows of tables, in the batches that MLflow takes."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run
from mlflow.tracking import MlflowClient

from pretextbench.track.payload import Point, Scalar

BATCH = 500  # metrics per request; the servers' limit is 1000


def history(table: str) -> Iterator[Point]:
    """One metric `train/NAME` per numeric column of a CSV with a column `step`."""
    for row in csv.DictReader(io.StringIO(table, newline="")):
        step = int(float(row.pop("step")))
        seconds = _number(row.get("seconds"))
        for name, text in row.items():
            value = _number(text)
            if value is not None:
                yield f"train/{name}", step, step / 1000 if seconds is None else seconds, value


def write(client: MlflowClient, run: Run, points: Sequence[Point]) -> None:
    """Write the points whose metric has none at their step; of two with one step the first.

    The times are the run's own, so that two who write one point at once write one.
    """
    new = {(name, step): (seconds, value) for name, step, seconds, value in reversed(points)}
    for name in {name for name, _ in new} & set(run.data.metrics):
        for point in client.get_metric_history(run.info.run_id, name):
            new.pop((name, point.step), None)
    start = run.info.start_time
    _log(client, run, [Metric(n, x, start + round(s * 1000), step) for (n, step), (s, x) in reversed(new.items())])


def values(client: MlflowClient, run: Run, metrics: Mapping[str, float], told: int) -> None:
    """Write final values that are not there yet, as of the time `told` (ms)."""
    new = [m for m in metrics.items() if not _same(run.data.metrics.get(m[0]), m[1])]
    _log(client, run, [Metric(name, float(value), told, 0) for name, value in new])


def _log(client: MlflowClient, run: Run, metrics: list[Metric]) -> None:
    for i in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[i : i + BATCH])


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


LOGGED = "mlflow.loggedArtifacts"  # where MLflow looks for tables


def log(client: MlflowClient, run: Run, file: str, columns: Mapping[str, list[Scalar]]) -> None:
    """Log a table in the place of an earlier one: `MlflowClient.log_table` would add its rows."""
    rows = list(zip(*columns.values(), strict=True))
    client.log_text(run.info.run_id, json.dumps({"columns": list(columns), "data": rows}), file)
    there = json.loads(run.data.tags.get(LOGGED, "[]"))
    entry = {"path": file, "type": "table"}
    if entry not in there:
        client.set_tag(run.info.run_id, LOGGED, json.dumps([*there, entry]))


def dataset(client: MlflowClient, run: Run, data: Mapping[str, str]) -> None:
    """Say on which data set the run was trained, unless it is said."""
    if any(one.dataset.digest == data["digest"] for one in run.inputs.dataset_inputs):
        return
    what = Dataset(data["name"], data["digest"], "local", data["source"], data["schema"], data["profile"])
    client.log_inputs(run.info.run_id, [DatasetInput(what, [InputTag("mlflow.data.context", "training")])])
