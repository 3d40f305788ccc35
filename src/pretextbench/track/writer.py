"""Writer of records to an MLflow store. Imports MLflow (4 s), so the recorder imports this module and stages do not.

Every step may be interrupted at any point and repeated by any process, and records may come in any order. A run is
identified by its key, a point of a metric by its step and time. Before anything else is written, the store is searched
for it.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pretextbench.project.locks import locked
from pretextbench.track import charts, outbox, store
from pretextbench.track.records import EXPERIMENT, LAYER, Point, Record, Scalar, git_commit, short_hash
from pretextbench.track.run_tree import RunTree
from pretextbench.track.spool import history

KEY = "pretextbench.key"
EXPERIMENT_TAG = "pretextbench"  # tag of the experiments of this library
REPORTED = "pretextbench.told."  # + stage: time (ms) of the report that is written; an older report is ignored
TABLES = "mlflow.loggedArtifacts"  # tag in which MLflow looks for tables
BATCHES = {"metrics": 500, "params": 100, "tags": 100}  # per request; the servers' limits are 1000, 100 and 100
LOCK_TIMEOUT = 60.0  # seconds
PARAM_LIMIT = 6000  # characters of a parameter, MLflow's limit


class Writer:
    """Writer to the store of the project at `root`, which is opened when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root.resolve(), store.without_login(store.address(root))
        self.local = not os.environ.get("MLFLOW_TRACKING_URI")  # read now: MLflow sets it in the next line
        self.file = 0, 0  # number of the opened file
        mlflow.set_tracking_uri(self.uri)
        (self.root / "mlruns").mkdir(exist_ok=True)

    def _locked_store(self) -> AbstractContextManager[None]:
        """Lock for creating tables and experiments, which two processes must not do at once."""
        return locked(self.root / "mlruns" / ".lock", LOCK_TIMEOUT)

    def open(self) -> None:
        """Connect to the store now, and create its tables if there are none."""
        self.experiments()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        with self._locked_store():
            client = MlflowClient(self.uri)
            self.file = store.file_number(self.uri)
            return client

    def is_stale(self) -> bool:
        """Whether the file of the store was removed or replaced since it was opened: MLflow would write to the old."""
        return any(self.file) and self.file != store.file_number(self.uri)

    def experiments(self) -> list[str]:
        """The ids of all experiments of this library: a run is continued in the experiment that holds it."""
        tagged = self.client.search_experiments(filter_string=f"tags.`{EXPERIMENT_TAG}` = 'true'")
        default = self.client.get_experiment_by_name(EXPERIMENT)
        return list(dict.fromkeys(str(e.experiment_id) for e in [*tagged, *([default] if default else [])]))

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created if it is missing."""
        existing = self.client.get_experiment_by_name(name)  # without the lock: a server may be slow
        if existing is not None:
            return str(existing.experiment_id)
        with self._locked_store():
            if existing := self.client.get_experiment_by_name(name):
                return str(existing.experiment_id)
            artifacts = str(self.root / "mlruns") if self.local else None  # None: where the server keeps them
            tags = {EXPERIMENT_TAG: "true", charts.TAG: charts.state()}
            return str(self.client.create_experiment(name, artifacts, tags))

    def begin(self, record: Record, replaced: str | None = None) -> str:
        """Create or continue the live run of a training; returns its id.

        `replaced`: key of an abandoned training, whose live run is stopped.
        """
        with self._locked_run(record.key):
            run = self.client.get_run(self._find_or_create(record, round(time.time() * 1000)))
            self.client.update_run(run.info.run_id, status="RUNNING")
            self._values(run, record, 0)
        for old in self.find(replaced) if replaced else []:
            self.stop(old.info.run_id)
        return str(run.info.run_id)

    def add_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Add points to a live run."""
        if points:
            _write_points(self.client, self.client.get_run(run_id), points)

    def stop(self, run_id: str, failed: str | None = None) -> None:
        """End a live run: the training was killed, or it has failed with the message `failed`."""
        if failed:
            self.client.set_tag(run_id, "mlflow.note.content", failed[:PARAM_LIMIT])
        self.client.set_terminated(run_id, "FAILED" if failed else "KILLED")

    def write(self, record: Record) -> str:
        """Create or continue the run of `record.key`; returns its id. Writing it again changes nothing."""
        reported = round((record.reported or time.time()) * 1000)
        with self._locked_run(record.key):
            run = self.client.get_run(self._find_or_create(record, reported))
            if int(run.data.tags.get(REPORTED + record.stage, 0)) <= reported:
                self._parts(run, record, reported)
                self.client.set_tag(run.info.run_id, REPORTED + record.stage, reported)
        return str(run.info.run_id)

    def _locked_run(self, key: str) -> AbstractContextManager[None]:
        """Lock of a run: two processes that write it at once would write the same points twice."""
        folder = outbox.folder(self.root) / "locks"
        return locked(folder / f"{short_hash(key)[0]}.lock", LOCK_TIMEOUT)  # 16 files for all runs

    def find(self, key: str) -> list[Run]:
        """Runs with this key, the real one first; any others are duplicates from a retried request."""
        text = key.replace("'", "")
        ours = self.experiments()
        runs = self.client.search_runs(ours, f"tags.`{KEY}` = '{text}'", max_results=10) if ours else []
        return sorted(runs, key=lambda run: (-len(run.data.tags), run.info.run_id))

    def _find_or_create(self, record: Record, reported: int) -> str:
        runs, live = self.find(record.key), self.find(record.training) if record.training else []
        if live and not runs:  # the live run becomes the run of the encoder
            self.client.set_tag(live[0].info.run_id, KEY, record.key.replace("'", ""))
            runs, live = live, []
        for duplicate in live:  # an earlier training has made the same encoder
            self.client.delete_run(duplicate.info.run_id)
        for duplicate in runs[1:]:
            if not duplicate.data.params and not duplicate.data.metrics:
                self.client.delete_run(duplicate.info.run_id)
        if runs:
            return str(runs[0].info.run_id)
        tags = {KEY: record.key.replace("'", "")}
        if commit := git_commit(self.root):
            tags["mlflow.source.git.commit"] = commit
        start = reported - round(record.seconds * 1000)  # milliseconds
        return str(self.client.create_run(self.experiment(record.experiment), start, tags, record.name).info.run_id)

    def _parts(self, run: Run, record: Record, reported: int) -> None:
        run_id = run.info.run_id
        self._values(run, record, reported)
        _write_points(self.client, run, [*record.points, *history(record.history or "")])
        for folder, files in record.files.items():
            for file in files:
                self.client.log_artifact(run_id, file, folder or None)
        for file, columns in record.tables.items():
            _write_table(self.client, run, file, columns)
        if record.encoder:
            self._encoder(run, Path(record.encoder), record)
        RunTree(self.client, self.experiments(), self.find).link(run, record, reported)
        if run.info.status != "FINISHED" or record.encoder:
            self.client.set_terminated(run_id, end_time=run.info.start_time + round(record.seconds * 1000))

    def _encoder(self, run: Run, folder: Path, record: Record) -> None:
        """Log the encoder, unless that was done before.

        A model that is unfinished, or of another layer than this evaluation chose, is deleted.
        """
        run_id, experiment = run.info.run_id, run.info.experiment_id
        models = self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        for model in models:
            if model.status == LoggedModelStatus.READY and model.tags.get(LAYER, "") == record.layer:
                return
            self.client.delete_logged_model(model.model_id)
        from pretextbench.track import model as encoders  # torch takes 3 s, and only evaluations need it

        encoders.log(run_id, folder, record.key, record.layer)

    def _values(self, run: Run, record: Record, reported: int) -> None:
        """Write parameters, tags and final metrics that are missing. MLflow forbids to change a parameter."""
        params = {name: str(value)[:PARAM_LIMIT] for name, value in record.params.items()}
        new = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        changed = {f"changed.{n}": v for n, v in params.items() if run.data.params.get(n, v) != v}
        tags = record.tags | changed
        if record.note:
            tags["mlflow.note.content"] = record.note
        _log(self.client, run, "params", new)
        _log(self.client, run, "tags", [RunTag(name, value[:PARAM_LIMIT]) for name, value in tags.items()])
        _write_values(self.client, run, record.metrics, reported)
        if record.data:
            _write_dataset(self.client, run, record.data)


def _write_points(client: MlflowClient, run: Run, points: Sequence[Point]) -> None:
    """Write the points whose step is missing in the store; of two points with the same step the first.

    Times count from the start of the run, so that two writers of one point write the same row.
    """
    new = {(name, step): (seconds, value) for name, step, seconds, value in reversed(points)}
    for name in {name for name, _ in new} & set(run.data.metrics):
        for point in client.get_metric_history(run.info.run_id, name):
            new.pop((name, point.step), None)
    start = run.info.start_time
    metrics = [Metric(n, x, start + round(s * 1000), step) for (n, step), (s, x) in reversed(new.items())]
    _log(client, run, "metrics", metrics)


def _write_values(client: MlflowClient, run: Run, metrics: Mapping[str, float], reported: int) -> None:
    """Write final values that are missing, with the time `reported` (ms)."""
    new = [m for m in metrics.items() if not _is_equal(run.data.metrics.get(m[0]), m[1])]
    _log(client, run, "metrics", [Metric(name, float(value), reported, 0) for name, value in new])


def _log(client: MlflowClient, run: Run, kind: str, entities: list[Any]) -> None:
    """Log metrics, parameters or tags (`kind`), in as many requests as their number needs."""
    for start in range(0, len(entities), BATCHES[kind]):
        client.log_batch(run.info.run_id, **{kind: entities[start : start + BATCHES[kind]]})


def _is_equal(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


def _write_table(client: MlflowClient, run: Run, file: str, columns: Mapping[str, list[Scalar]]) -> None:
    """Replace a table; `MlflowClient.log_table` would append its rows."""
    rows = list(zip(*columns.values(), strict=True))
    client.log_text(run.info.run_id, json.dumps({"columns": list(columns), "data": rows}), file)
    known, entry = json.loads(run.data.tags.get(TABLES, "[]")), {"path": file, "type": "table"}
    if entry not in known:
        client.set_tag(run.info.run_id, TABLES, json.dumps([*known, entry]))


def _write_dataset(client: MlflowClient, run: Run, data: Mapping[str, str]) -> None:
    """Log the data set of a run, if it is missing."""
    if any(known.dataset.digest == data["digest"] for known in run.inputs.dataset_inputs):
        return
    dataset = Dataset(data["name"], data["digest"], "local", data["source"], data["schema"], data["profile"])
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
