"""Writing records to an MLflow store. Imports MLflow (4 s): stages do not import this module, the recorder does."""

import csv
import hashlib
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pretextbench.track import EXPERIMENT, Record, store
from pretextbench.track.commit import git_commit

KEY = "pretextbench.key"
DONE = "pretextbench.done."  # + part: hash of what was written, so that telling it again repeats nothing
BATCH = 500  # metrics per request; the servers' limit is 1000
LONGEST = 6000  # characters of a parameter, MLflow's limit


class Writer:
    """One open store. `root` is the project; the store is `pretextbench.track.store(root)`."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root.resolve(), store(root)
        self.own = not os.environ.get("MLFLOW_TRACKING_URI")  # asked now: MLflow sets it itself in the next line
        mlflow.set_tracking_uri(self.uri)
        # Opening a new SQLite store creates its tables: two processes at once would both try.
        (self.root / "mlruns").mkdir(exist_ok=True)
        self.lock = FileLock(self.root / "mlruns" / ".lock", timeout=60)
        with self.lock:
            self.client = MlflowClient(self.uri)
            self.experiment = self._experiment()

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = str(self.root / "mlruns") if self.own else None  # a server has a place of its own for artifacts
        return str(self.client.create_experiment(EXPERIMENT, place))

    def write(self, what: Record) -> str:
        """Create or continue the run of `what.key`; returns its id. Doing it again changes nothing."""
        with self.lock:  # two stages must not create one run twice
            run_id = self._find_or_create(what.key, what.name, what.seconds)
        run = self.client.get_run(run_id)
        self._values(run, what)
        if what.history and self._new(run, "history", digest := _digest(Path(what.history))):
            self._history(run, Path(what.history))
            self.client.set_tag(run_id, DONE + "history", digest)
        for folder, files in what.files.items():
            for file in files:
                self.client.log_artifact(run_id, file, folder or None)
        if what.encoder and self._new(run, "encoder", what.key):
            from pretextbench.track import model  # torch takes 3 s, and only pretraining needs it

            model.log(run_id, Path(what.encoder))
            self.client.set_tag(run_id, DONE + "encoder", what.key)
        for key in what.members:
            if member := self._find(key):
                self.client.set_tag(member, "mlflow.parentRunId", run_id)
        if run.info.status != "FINISHED" or what.encoder:
            self.client.set_terminated(run_id, end_time=run.info.start_time + round(what.seconds * 1000))
        return run_id

    def _find(self, key: str) -> str | None:
        text = key.replace("'", "")
        runs = self.client.search_runs([self.experiment], f"tags.`{KEY}` = '{text}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _find_or_create(self, key: str, name: str, seconds: float = 0.0) -> str:
        if found := self._find(key):
            return found
        tags = {KEY: key.replace("'", "")}
        if commit := git_commit(self.root):
            tags["mlflow.source.git.commit"] = commit
        start = round((time.time() - seconds) * 1000)  # milliseconds
        return str(self.client.create_run(self.experiment, start, tags, name).info.run_id)

    @staticmethod
    def _new(run: Run, part: str, digest: str) -> bool:
        return bool(run.data.tags.get(DONE + part) != digest)

    def _values(self, run: Run, what: Record) -> None:
        """Parameters, tags and final metrics that are not there yet; MLflow forbids changing a parameter."""
        params = {name: str(value)[:LONGEST] for name, value in what.params.items()}
        new = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        changed = {f"changed.{n}": v for n, v in params.items() if run.data.params.get(n, v) != v}
        tags = what.tags | changed
        if what.note:
            tags["mlflow.note.content"] = what.note
        metrics = [m for m in what.metrics.items() if not _same(run.data.metrics.get(m[0]), m[1])]
        now = round(time.time() * 1000)
        for part in _batches(new, 100):
            self.client.log_batch(run.info.run_id, params=part)
        for part in _batches([RunTag(n, v[:LONGEST]) for n, v in tags.items()], 100):
            self.client.log_batch(run.info.run_id, tags=part)
        for part in _batches([Metric(name, float(value), now, 0) for name, value in metrics], BATCH):
            self.client.log_batch(run.info.run_id, metrics=part)

    def _history(self, run: Run, path: Path) -> None:
        """One metric per numeric column of the CSV. The times are the run's own, so that a point told twice is one."""
        points = []
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                step = int(float(row.pop("step")))
                numbers = ((name, _number(text)) for name, text in row.items())
                points += [
                    Metric(f"train/{n}", x, run.info.start_time + step, step) for n, x in numbers if x is not None
                ]
        for part in _batches(points, BATCH):
            self.client.log_batch(run.info.run_id, metrics=part)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))
