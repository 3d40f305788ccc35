"""Links between a comparison and its member runs in an MLflow store, in either order of writing. Imports MLflow.

The comparison is the parent of the members, gives them tags (tie, rank, best), and registers the encoders that it
recommends as models with the alias `best`. Of two comparisons the one that was reported last wins.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pretextbench.track import run_tags
from pretextbench.track.records import DIM, LAYER, Record, short_hash

PARENT = "mlflow.parentRunId"
EARLIER = "pretextbench.marked"  # tag of registered models of earlier versions, as `TAG` of those of this one
BEST = "best"  # alias of a registered model
OPENINGS = ("Recommended encoder of the comparison", "Encoder of the comparison")  # of descriptions of models


class RunTree:
    """Links of the runs in a store. `find`: key -> runs. `lock`: key -> lock of that run."""

    def __init__(
        self,
        client: MlflowClient,
        experiments: list[str],
        find: Callable[[str], list[Run]],
        lock: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.client, self.experiments, self.find, self.lock = client, experiments, find, lock

    def link(self, run: Run, record: Record, reported: int) -> None:
        """Note the members of a comparison on it, or link a member to its comparison. The caller has the run's lock."""
        run_id = run.info.run_id
        if record.members:
            members = [short_hash(key) for key in record.members]
            marks = {short_hash(key): _mark(record, key) for key in record.members}
            run_tags.note(self.client, run_id, members=members, marks=marks, marked=reported)
            return
        member = short_hash(record.key)
        for parent in self._parents(member)[:1]:  # the latest
            notes = run_tags.bookkeeping(parent.data.tags)
            mark = notes.get("marks", {}).get(member, {})
            self._link_member(self.client.get_run(run_id), parent, mark, notes.get("marked", 0))

    def mark_members(self, run_id: str, record: Record, reported: int) -> None:
        """Link the members of a comparison that are there. The caller has no lock: members are locked in turn."""
        parent = self.client.get_run(run_id)
        for key in record.members:
            with self.lock(key):
                for member in self.find(key)[:1]:
                    self._link_member(member, parent, _mark(record, key), reported)

    def _parents(self, member: str) -> list[Run]:
        for search in run_tags.parent_searches(member):
            runs = self.client.search_runs(self.experiments, search, max_results=10)
            if own := [run for run in runs if member in run_tags.bookkeeping(run.data.tags).get("members", ())]:
                return own
        return []

    def _link_member(self, member: Run, parent: Run, mark: Mapping[str, Any], reported: int) -> None:
        run_id = member.info.run_id
        if run_tags.bookkeeping(member.data.tags).get("marked", 0) <= reported:
            filled, emptied = run_tags.legible(member, {PARENT: parent.info.run_id, **mark.get("tags", {})})
            for name, value in filled.items():
                self.client.set_tag(run_id, name, value)
            for name in emptied:
                self.client.delete_tag(run_id, name)
            run_tags.note(self.client, run_id, marked=reported)
        for name in mark.get("models", ()):
            self._register(member, parent, name, reported)

    def _register(self, member: Run, parent: Run, name: str, reported: int) -> None:
        """Register the encoder of a member as a version of the model `name`, with the alias `best`."""
        of_member = f"source_run_id = '{member.info.run_id}'"
        models = self.client.search_logged_models([member.info.experiment_id], of_member)
        model = next((m for m in models if m.status == LoggedModelStatus.READY), None)
        if model is None:
            return  # its record comes later and finds the marks of the comparison
        text = self._description(model, member, parent, name)
        try:
            registered = self.client.get_registered_model(name)
        except MlflowException:
            registered = self.client.create_registered_model(name, {run_tags.TAG: "0"}, text)
        version = self._version(name, model, member, text)
        known = (registered.tags.get(tag, "") for tag in (run_tags.TAG, EARLIER))
        if max(int(time) if time.isdigit() else 0 for time in known) <= reported:  # of the last comparison, ms
            self.client.set_registered_model_alias(name, BEST, version)
            self.client.set_registered_model_tag(name, run_tags.TAG, str(reported))
            if not registered.description or registered.description.startswith(OPENINGS):
                self.client.update_registered_model(name, text)

    def _version(self, name: str, model: Any, member: Run, text: str) -> str:
        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.source == model.model_uri:  # a search leaves out the id of the model
                return str(version.version)
        tags = {tag: member.data.tags[tag] for tag in ("method", "seed", LAYER) if tag in member.data.tags}
        version = self.client.create_model_version(
            name, model.model_uri, member.info.run_id, tags, description=text, model_id=model.model_id
        )
        return str(version.version)

    def _description(self, model: Any, member: Run, parent: Run, name: str) -> str:
        """What a registered model is: its row, what that was compared with, the layer and the result."""
        tags, experiment = member.data.tags, self.client.get_experiment(member.info.experiment_id).name
        opening = OPENINGS[0 if name == experiment else 1]
        row = tags.get("row") or tags.get("method", "")
        images = next((entry.dataset.name for entry in member.inputs.dataset_inputs), "")
        lines = [
            f"{opening} `{experiment}`: {row}, seed {tags.get('seed')}, the best seed on validation"
            f"{f', trained on {images}' if images else ''}. Compared were {parent.data.params.get('methods', row)}.",
            f"Features of {tags.get(LAYER) or 'the last layer'}, the layer that its evaluation chose"
            f"{f': {model.tags[DIM]} numbers per image' if DIM in model.tags else ''}.",
        ]
        results = [title for title in member.data.metrics if title.startswith("Linear probe ")]
        lines += [f"{title}: {100 * member.data.metrics[title]:.1f} % on test images." for title in results[:1]]
        lines += [f'`mlflow.pyfunc.load_model("models:/{name}@{BEST}").predict(images)` takes float32 (B, 3, H, W).']
        return "\n\n".join(lines)


def _mark(record: Record, key: str) -> dict[str, Any]:
    models = [name for name, member in record.models.items() if member == key]
    return {"tags": record.marks.get(key, {}), **({"models": models} if models else {})}
