"""Writing records to an MLflow store. Imports MLflow (4 s): stages do not import this module, the recorder does.

Everything here may be interrupted anywhere and done again, by whoever, in any order of the records: a run is found by
its key, a point of a metric has the time at which it was told, and what has no such identity is looked for first.
"""

import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities import LoggedModelStatus, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pretextbench.track import Record, charts, outbox, points, store
from pretextbench.track.payload import EXPERIMENT, Point, git_commit
from pretextbench.track.points import history, values, write
from pretextbench.track.run_tree import Relatives

KEY = "pretextbench.key"
OURS = "pretextbench"  # tag of our experiments
DONE = "pretextbench.done."  # + part: hash of what was written, so that telling it again repeats nothing
TOLD = "pretextbench.told."  # + stage: when (ms) that stage told what is written; what it told earlier comes too late
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
        """Reach the store now, and create its tables if need be."""
        self.experiments()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        with self.lock:
            return MlflowClient(self.uri)

    def experiments(self) -> list[str]:
        """The ids of all experiments that are ours: a run is continued where it is."""
        found = self.client.search_experiments(filter_string=f"tags.`{OURS}` = 'true'")
        old = self.client.get_experiment_by_name(EXPERIMENT)
        return list(dict.fromkeys(str(one.experiment_id) for one in [*found, *([old] if old else [])]))

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created where there is none."""
        found = self.client.get_experiment_by_name(name)  # without the lock: a server may let us wait
        if found is not None:
            return str(found.experiment_id)
        with self.lock:
            if found := self.client.get_experiment_by_name(name):
                return str(found.experiment_id)
            place = str(self.root / "mlruns") if self.own else None  # a server has a place of its own for artifacts
            return str(self.client.create_experiment(name, place, {OURS: "true", charts.TAG: charts.state()}))

    def begin(self, what: Record, instead: str | None = None) -> str:
        """Create or continue the run of a training that is under way; returns its id.

        `instead`: key of a training that was given up for this one.
        """
        with self._alone(what.key):
            run = self.client.get_run(self._find_or_create(what, round(time.time() * 1000)))
            self.client.update_run(run.info.run_id, status="RUNNING")
            self._values(run, what, 0)
        for old in self.find(instead) if instead else []:
            self.stop(old.info.run_id)
        return str(run.info.run_id)

    def tell(self, run_id: str, points: Sequence[Point]) -> None:
        """Add points to a run that is under way."""
        if points:
            write(self.client, self.client.get_run(run_id), points)

    def stop(self, run_id: str, failed: str | None = None) -> None:
        """A training under way is no more: it was killed, or it has failed for the reason given."""
        if failed:
            self.client.set_tag(run_id, "mlflow.note.content", failed[:LONGEST])
        self.client.set_terminated(run_id, "FAILED" if failed else "KILLED")

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
        folder = outbox.folder(self.root) / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{outbox.short(key)[0]}.lock", timeout=60)  # 16 files, not one per run for ever

    def find(self, key: str) -> list[Run]:
        """The run of a key, behind it those that a server made of the same request when it was slow to answer."""
        text = key.replace("'", "")
        ours = self.experiments()
        runs = self.client.search_runs(ours, f"tags.`{KEY}` = '{text}'", max_results=10) if ours else []
        return sorted(runs, key=lambda run: (-len(run.data.tags), run.info.run_id))

    def _find_or_create(self, what: Record, told: int) -> str:
        found, live = self.find(what.key), self.find(what.training) if what.training else []
        if live and not found:  # it was told while it trained, and becomes what it has made
            self.client.set_tag(live[0].info.run_id, KEY, what.key.replace("'", ""))
            found, live = live, []
        for other in live:  # the same was made before
            self.client.delete_run(other.info.run_id)
        if found:
            for other in found[1:]:
                if not other.data.params and not other.data.metrics:
                    self.client.delete_run(other.info.run_id)
            return str(found[0].info.run_id)
        tags = {KEY: what.key.replace("'", "")}
        if commit := git_commit(self.root):
            tags["mlflow.source.git.commit"] = commit
        start = told - round(what.seconds * 1000)  # milliseconds
        return str(self.client.create_run(self.experiment(what.experiment), start, tags, what.name).info.run_id)

    def _parts(self, run: Run, what: Record, told: int) -> None:
        run_id = run.info.run_id
        self._values(run, what, told)
        write(self.client, run, [*what.points, *history(what.history or "")])
        for folder, files in what.files.items():
            for file in files:
                self.client.log_artifact(run_id, file, folder or None)
        for file, columns in what.tables.items():
            points.log(self.client, run, file, columns)
        if what.encoder and self._new(run, "encoder", what.key):
            self._encoder(run, Path(what.encoder), what.key)
            self.client.set_tag(run_id, DONE + "encoder", what.key)
        Relatives(self.client, self.experiments(), self.find).tell(run, what, told)
        if run.info.status != "FINISHED" or what.encoder:
            self.client.set_terminated(run_id, end_time=run.info.start_time + round(what.seconds * 1000))

    def _encoder(self, run: Run, folder: Path, key: str) -> None:
        """Log the encoder, unless a recorder that was killed before it could say so has; half of one is removed."""
        run_id, experiment = run.info.run_id, run.info.experiment_id
        models = self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        for model in models:
            if model.status == LoggedModelStatus.READY:
                return
            self.client.delete_logged_model(model.model_id)
        from pretextbench.track import model as encoders  # torch takes 3 s, and only pretraining needs it

        encoders.log(run_id, folder, key)

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
        for part in _batches(new, 100):
            self.client.log_batch(run.info.run_id, params=part)
        for part in _batches([RunTag(n, v[:LONGEST]) for n, v in tags.items()], 100):
            self.client.log_batch(run.info.run_id, tags=part)
        values(self.client, run, what.metrics, told)
        if what.data:
            points.dataset(self.client, run, what.data)


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
