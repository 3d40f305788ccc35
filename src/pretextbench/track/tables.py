"""The data set of a run, and tables that MLflow shows and `mlflow.load_table` reads. Imports MLflow."""

import json
from collections.abc import Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.tracking import MlflowClient

from pretextbench.track.facts import Scalar

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
