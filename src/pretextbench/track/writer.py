"""Writing records to an MLflow store. Imports MLflow (4 s): stages do not import this module, the recorder does.

Everything here may be interrupted anywhere and done again, by whoever, in any order of the records: a run is found by
its key, a point of a metric has the time at which it was told, and what has no such identity is looked for first.
"""

import csv
import hashlib
import io
import math
import os
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities import LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pretextbench.track import EXPERIMENT, Record, kept, store
from pretextbench.track.commit import git_commit

KEY = "pretextbench.key"
MEMBERS = "pretextbench.members"  # of a comparison: its runs, which may be written after it
PARENT = "mlflow.parentRunId"
DONE = "pretextbench.done."  # + part: hash of what was written, so that telling it again repeats nothing
TOLD = "pretextbench.told."  # + stage: when (ms) that stage told what is written; what it told earlier comes too late
BATCH = 500  # metrics per request; the servers' limit is 1000
LONGEST = 6000  # characters of a parameter, MLflow's limit


class Writer:
    """The store `pretextbench.track.store(root)` of the project at `root`, opened when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root.resolve(), store(root)
        self.own = not os.environ.get("MLFLOW_TRACKING_URI")  # asked now: MLflow sets it itself in the next line
        mlflow.set_tracking_uri(self.uri)
        # Opening a new SQLite store creates its tables: two processes at once would both try.
        (self.root / "mlruns").mkdir(exist_ok=True)
        self.lock = FileLock(self.root / "mlruns" / ".lock", timeout=60)

    def open(self) -> None:
        """Reach the store now, and create its tables and the experiment if need be."""
        _ = self.experiment

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        with self.lock:
            return MlflowClient(self.uri)

    @cached_property
    def experiment(self) -> str:
        """The id of the experiment, which is created where there is none."""
        found = self.client.get_experiment_by_name(EXPERIMENT)  # without the lock: a server may let us wait
        if found is not None:
            return str(found.experiment_id)
        with self.lock:
            if found := self.client.get_experiment_by_name(EXPERIMENT):
                return str(found.experiment_id)
            place = str(self.root / "mlruns") if self.own else None  # a server has a place of its own for artifacts
            return str(self.client.create_experiment(EXPERIMENT, place))

    def write(self, what: Record) -> str:
        """Create or continue the run of `what.key`; returns its id. Doing it again changes nothing."""
        told = round((what.told or time.time()) * 1000)
        with self._alone(what.key):
            run = self.client.get_run(self._find_or_create(what, told))
            if int(run.data.tags.get(TOLD + what.stage, 0)) <= told:
                self._parts(run, what, told)
                self.client.set_tag(run.info.run_id, TOLD + what.stage, told)
        return str(run.info.run_id)

    def _alone(self, key: str) -> FileLock:
        """Two processes must not write one run at once: each would miss what the other has not written yet."""
        folder = kept.folder(self.root) / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{kept.short(key)[0]}.lock", timeout=60)  # 16 files, not one per run for ever

    def _find(self, key: str) -> list[Run]:
        """The run of a key, behind it those that a server made of the same request when it was slow to answer."""
        text = key.replace("'", "")
        runs = self.client.search_runs([self.experiment], f"tags.`{KEY}` = '{text}'", max_results=10)
        return sorted(runs, key=lambda run: (-len(run.data.tags), run.info.run_id))

    def _find_or_create(self, what: Record, told: int) -> str:
        if found := self._find(what.key):
            for other in found[1:]:
                if not other.data.params and not other.data.metrics:
                    self.client.delete_run(other.info.run_id)
            return str(found[0].info.run_id)
        tags = {KEY: what.key.replace("'", "")}
        if commit := git_commit(self.root):
            tags["mlflow.source.git.commit"] = commit
        start = told - round(what.seconds * 1000)  # milliseconds
        return str(self.client.create_run(self.experiment, start, tags, what.name).info.run_id)

    def _parts(self, run: Run, what: Record, told: int) -> None:
        run_id = run.info.run_id
        self._values(run, what, told)
        if what.history and self._new(run, "history", digest := hashlib.sha256(what.history.encode()).hexdigest()):
            self._history(run, what.history)
            self.client.set_tag(run_id, DONE + "history", digest)
        for folder, files in what.files.items():
            for file in files:
                self.client.log_artifact(run_id, file, folder or None)
        if what.encoder and self._new(run, "encoder", what.key):
            self._encoder(run_id, Path(what.encoder), what.key)
            self.client.set_tag(run_id, DONE + "encoder", what.key)
        self._family(run, what)
        if run.info.status != "FINISHED" or what.encoder:
            self.client.set_terminated(run_id, end_time=run.info.start_time + round(what.seconds * 1000))

    def _encoder(self, run_id: str, folder: Path, key: str) -> None:
        """Log the encoder, unless a recorder that was killed before it could say so has; half of one is removed."""
        models = self.client.search_logged_models([self.experiment], f"source_run_id = '{run_id}'")
        for model in models:
            if model.status == LoggedModelStatus.READY:
                return
            self.client.delete_logged_model(model.model_id)
        from pretextbench.track import model as encoders  # torch takes 3 s, and only pretraining needs it

        encoders.log(run_id, folder, key)

    def _family(self, run: Run, what: Record) -> None:
        """Put the members under their comparison, whichever is written first."""
        run_id = run.info.run_id
        if what.members:
            self.client.set_tag(run_id, MEMBERS, " ".join(map(kept.short, what.members))[:LONGEST])
            for member in (found[0] for key in what.members if (found := self._find(key))):
                self.client.set_tag(member.info.run_id, PARENT, run_id)
        elif PARENT not in run.data.tags:
            one_of = f"tags.`{MEMBERS}` LIKE '%{kept.short(what.key)}%'"
            for parent in self.client.search_runs([self.experiment], one_of, max_results=1):  # the latest
                self.client.set_tag(run_id, PARENT, parent.info.run_id)

    @staticmethod
    def _new(run: Run, part: str, digest: str) -> bool:
        return bool(run.data.tags.get(DONE + part) != digest)

    def _values(self, run: Run, what: Record, told: int) -> None:
        """Parameters, tags and final metrics that are not there yet; MLflow forbids changing a parameter."""
        params = {name: str(value)[:LONGEST] for name, value in what.params.items()}
        new = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        changed = {f"changed.{n}": v for n, v in params.items() if run.data.params.get(n, v) != v}
        tags = what.tags | changed
        if what.note:
            tags["mlflow.note.content"] = what.note
        metrics = [m for m in what.metrics.items() if not _same(run.data.metrics.get(m[0]), m[1])]
        for part in _batches(new, 100):
            self.client.log_batch(run.info.run_id, params=part)
        for part in _batches([RunTag(n, v[:LONGEST]) for n, v in tags.items()], 100):
            self.client.log_batch(run.info.run_id, tags=part)
        for part in _batches([Metric(name, float(value), told, 0) for name, value in metrics], BATCH):
            self.client.log_batch(run.info.run_id, metrics=part)

    def _history(self, run: Run, table: str) -> None:
        """One metric per numeric column of the CSV. The times are the run's own, so that a point told twice is one."""
        points = []
        for row in csv.DictReader(io.StringIO(table, newline="")):
            step = int(float(row.pop("step")))
            numbers = ((name, _number(text)) for name, text in row.items())
            points += [Metric(f"train/{n}", x, run.info.start_time + step, step) for n, x in numbers if x is not None]
        for part in _batches(points, BATCH):
            self.client.log_batch(run.info.run_id, metrics=part)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))
