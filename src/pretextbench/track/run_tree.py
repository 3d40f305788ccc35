"""Links between a comparison and its member runs in an MLflow store, in either order of writing. Imports MLflow.

The comparison is the parent of the members, gives them tags (tie, rank, best), and registers the encoders that it
recommends as models with the alias `best`. Of two comparisons the one that was reported last wins.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pretextbench.track.records import Record, short_hash

MEMBERS = "pretextbench.members"  # tag of a comparison: its runs, which may be written after it
MARKS = "pretextbench.marks"  # tag of a comparison: tags and models of its runs
PARENT = "mlflow.parentRunId"
MARKED = "pretextbench.marked"  # tag of a run or model: report time (ms) of the last comparison that has tagged it
BEST = "best"  # alias of a registered model
TAG_LIMIT = 5000  # characters of a tag; the limit of a server may be 5000


class RunTree:
    """Links of the runs in a store. `find`: key -> runs."""

    def __init__(self, client: MlflowClient, experiments: list[str], find: Callable[[str], list[Run]]) -> None:
        self.client, self.experiments, self.find = client, experiments, find

    def link(self, run: Run, record: Record, reported: int) -> None:
        """Link a comparison to its members, or a member to its comparison."""
        if record.members:
            marks = {short_hash(key): _mark(record, key) for key in record.members}
            self._save_members(run.info.run_id, record.members, marks, reported)
            for key in record.members:
                for member in self.find(key)[:1]:
                    self._link_member(member, run.info.run_id, marks[short_hash(key)], reported)
        else:
            is_parent = f"tags.`{MEMBERS}` LIKE '%{short_hash(record.key)}%'"
            for parent in self.client.search_runs(self.experiments, is_parent, max_results=1):  # the latest
                marks = json.loads(parent.data.tags.get(MARKS, "{}"))
                when = int(parent.data.tags.get(MARKED, 0))
                run = self.client.get_run(run.info.run_id)
                self._link_member(run, parent.info.run_id, marks.get(short_hash(record.key), {}), when)

    def _save_members(self, run_id: str, members: Sequence[str], marks: Mapping[str, Any], reported: int) -> None:
        """Save members and their tags on the comparison, for members that are written later."""
        self.client.set_tag(run_id, MEMBERS, " ".join(map(short_hash, members))[:TAG_LIMIT])
        text = json.dumps(marks, separators=(",", ":"))
        self.client.set_tag(run_id, MARKS, text if len(text) <= TAG_LIMIT else "{}")
        self.client.set_tag(run_id, MARKED, reported)

    def _link_member(self, member: Run, parent: str, mark: Mapping[str, Any], reported: int) -> None:
        run_id = member.info.run_id
        if int(member.data.tags.get(MARKED, 0)) <= reported:
            for name, value in {PARENT: parent, **mark.get("tags", {}), MARKED: str(reported)}.items():
                self.client.set_tag(run_id, name, value)
        for name in mark.get("models", ()):
            self._register(member, name, reported)

    def _register(self, member: Run, name: str, reported: int) -> None:
        """Register the encoder of a member as a version of the model `name`, with the alias `best`."""
        of_member = f"source_run_id = '{member.info.run_id}'"
        models = self.client.search_logged_models([member.info.experiment_id], of_member)
        model = next((m for m in models if m.status == LoggedModelStatus.READY), None)
        if model is None:
            return  # its record comes later and finds the tag MARKS of the comparison
        try:
            registered = self.client.get_registered_model(name)
        except MlflowException:
            registered = self.client.create_registered_model(name, {"pretextbench": "true"})
        version = self._version(name, model, member)
        if int(registered.tags.get(MARKED, 0)) <= reported:
            self.client.set_registered_model_alias(name, BEST, version)
            self.client.set_registered_model_tag(name, MARKED, str(reported))

    def _version(self, name: str, model: Any, member: Run) -> str:
        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.run_id == member.info.run_id and version.model_id == model.model_id:
                return str(version.version)
        tags = {tag: member.data.tags[tag] for tag in ("method", "seed") if tag in member.data.tags}
        version = self.client.create_model_version(
            name, model.model_uri, member.info.run_id, tags, model_id=model.model_id
        )
        return str(version.version)


def _mark(record: Record, key: str) -> dict[str, Any]:
    models = [name for name, member in record.models.items() if member == key]
    return {"tags": record.marks.get(key, {}), **({"models": models} if models else {})}
