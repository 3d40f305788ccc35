"""Writer of records to an MLflow store. Imports MLflow (4 s), so the recorder imports this module and stages do not.

Every step may be interrupted at any point and repeated by any process, and records may come in any order. A run is
identified by its key, a point of a metric by its step and time. Before anything else is written, the store is searched
for it.
"""

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelStatus, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pretextbench.project.locks import locked
from pretextbench.track import charts, outbox, run_tags, store
from pretextbench.track.records import EXPERIMENT, LAYER, Point, Record, short_hash
from pretextbench.track.run_content import log, origin, write_dataset, write_points, write_table, write_values
from pretextbench.track.run_tree import RunTree
from pretextbench.track.spool import history

EXPERIMENT_TAG = "pretextbench"  # tag of the experiments of this library
DESCRIBED = "pretextbench.described"  # tag of an experiment: time (ms) and hash of the description from this library
NOTE = "mlflow.note.content"
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

    def _describe(self, run: Run, record: Record, reported: int) -> None:
        """Give the experiment the charts of this measure, and the recommendation as its description.

        A view or a description that somebody has changed is left as it is.
        """
        experiment = self.client.get_experiment(run.info.experiment_id)
        number, tags = experiment.experiment_id, experiment.tags
        if record.measure and charts.is_own(tags.get(charts.TAG, "")):
            self.client.set_experiment_tag(number, charts.TAG, charts.state(record.measure))
        if not record.summary:
            return
        when, _, known = tags.get(DESCRIBED, "0 ").partition(" ")
        present = tags.get(NOTE, "")
        if int(when) <= reported and (not present or short_hash(present) == known):
            page = f"#/experiments/{number}/runs/{run.info.run_id}"
            links = f"[The run of this comparison]({page}) has [the report]({page}/artifacts/report.html)."
            note = f"{record.summary[: run_tags.LIMIT - len(links) - 2]}\n\n{links}"
            self.client.set_experiment_tag(number, DESCRIBED, f"{reported} {short_hash(note)}")
            self.client.set_experiment_tag(number, NOTE, note)

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
            write_points(self.client, self.client.get_run(run_id), points)

    def stop(self, run_id: str, failed: str | None = None) -> None:
        """End a live run: the training was killed, or it has failed with the message `failed`."""
        if failed:
            self.client.set_tag(run_id, NOTE, failed[:PARAM_LIMIT])
        self.client.set_terminated(run_id, "FAILED" if failed else "KILLED")

    def write(self, record: Record) -> str:
        """Create or continue the run of `record.key`; returns its id. Writing it again changes nothing."""
        reported = round((record.reported or time.time()) * 1000)
        with self._locked_run(record.key):
            run = self.client.get_run(self._find_or_create(record, reported))
            known = run_tags.bookkeeping(run.data.tags).get("told", {}).get(record.stage, 0)
            if known <= reported:
                self._parts(run, record, reported)
                run_tags.note(self.client, run.info.run_id, told={record.stage: reported})
        if known <= reported:
            self._tree.mark_members(run.info.run_id, record, reported)
        return str(run.info.run_id)

    @property
    def _tree(self) -> RunTree:
        return RunTree(self.client, self.experiments(), self.find, self._locked_run)

    def _locked_run(self, key: str) -> AbstractContextManager[None]:
        """Lock of a run: two processes that write it at once would write the same points twice."""
        folder = outbox.folder(self.root) / "locks"
        return locked(folder / f"{short_hash(key)[0]}.lock", LOCK_TIMEOUT)  # 16 files for all runs

    def find(self, key: str) -> list[Run]:
        """Runs with this key, the real one first; any others are duplicates from a retried request."""
        ours, clean = self.experiments(), run_tags.clean_key(key)
        for search in run_tags.searches(key) if ours else ():
            runs = self.client.search_runs(ours, search, max_results=10)
            if same := [run for run in runs if run_tags.bookkeeping(run.data.tags).get("key") == clean]:
                return sorted(same, key=lambda run: (-len(run.data.tags), run.info.run_id))
        return []

    def _find_or_create(self, record: Record, reported: int) -> str:
        runs, live = self.find(record.key), self.find(record.training) if record.training else []
        if live and not runs:  # the live run becomes the run of the encoder
            run_tags.note(self.client, live[0].info.run_id, key=run_tags.clean_key(record.key))
            runs, live = live, []
        for duplicate in live:  # an earlier training has made the same encoder
            self.client.delete_run(duplicate.info.run_id)
        for duplicate in runs[1:]:
            if not duplicate.data.params and not duplicate.data.metrics:
                self.client.delete_run(duplicate.info.run_id)
        if runs:
            return str(runs[0].info.run_id)
        tags = {run_tags.TAG: run_tags.text({"key": run_tags.clean_key(record.key)}), **origin(self.root)}
        start = reported - round(record.seconds * 1000)  # milliseconds
        return str(self.client.create_run(self.experiment(record.experiment), start, tags, record.name).info.run_id)

    def _parts(self, run: Run, record: Record, reported: int) -> None:
        run_id = run.info.run_id
        self._values(run, record, reported)
        write_points(self.client, run, [*record.points, *history(record.history or "")])
        for folder, files in record.files.items():
            for file in files:
                self.client.log_artifact(run_id, file, folder or None)
        for file, columns in record.tables.items():
            write_table(self.client, run, file, columns)
        if record.encoder:
            self._encoder(run, Path(record.encoder), record)
        self._tree.link(run, record, reported)
        self._describe(run, record, reported)
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
        note = {NOTE: record.note} if record.note else {}
        tags, emptied = run_tags.legible(run, record.tags | changed | note)
        log(self.client, run, "params", new)
        log(self.client, run, "tags", [RunTag(name, value) for name, value in tags.items()])
        for name in emptied:
            self.client.delete_tag(run.info.run_id, name)
        write_values(self.client, run, record.metrics, reported)
        if record.data:
            write_dataset(self.client, run, record.data)
