"""A comparison and its members in an MLflow store, whichever is written first. Imports MLflow.

The comparison is the members' parent, gives them tags (tie, rank, best), and names the encoders that it recommends:
registered models, whose alias `best` is moved. Of two comparisons the one that was told last has the say.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pretextbench.track import Record, outbox

MEMBERS = "pretextbench.members"  # of a comparison: its runs, which may be written after it
MARKS = "pretextbench.marks"  # ditto: what it gives them
PARENT = "mlflow.parentRunId"
MARKED = "pretextbench.marked"  # when (ms) the comparison was told that has marked a run or a model last
BEST = "best"  # the alias
LONGEST = 5000  # characters of a tag; the limit of a server may be 5000


class Relatives:
    """Finds and ties together what belongs together."""

    def __init__(self, client: MlflowClient, experiments: list[str], find: Callable[[str], list[Run]]) -> None:
        self.client, self.experiments, self.find = client, experiments, find

    def tell(self, run: Run, what: Record, told: int) -> None:
        """Tie a comparison to its members, or a member to its comparison."""
        if what.members:
            marks = {outbox.short(key): _mark(what, key) for key in what.members}
            self._remember(run.info.run_id, what.members, marks, told)
            for key in what.members:
                for member in self.find(key)[:1]:
                    self._tie(member, run.info.run_id, marks[outbox.short(key)], told)
        else:
            one_of = f"tags.`{MEMBERS}` LIKE '%{outbox.short(what.key)}%'"
            for parent in self.client.search_runs(self.experiments, one_of, max_results=1):  # the latest
                marks = json.loads(parent.data.tags.get(MARKS, "{}"))
                when = int(parent.data.tags.get(MARKED, 0))
                run = self.client.get_run(run.info.run_id)
                self._tie(run, parent.info.run_id, marks.get(outbox.short(what.key), {}), when)

    def _remember(self, run_id: str, members: Sequence[str], marks: Mapping[str, Any], told: int) -> None:
        """On the comparison itself: for members that are written later."""
        self.client.set_tag(run_id, MEMBERS, " ".join(map(outbox.short, members))[:LONGEST])
        text = json.dumps(marks, separators=(",", ":"))
        self.client.set_tag(run_id, MARKS, text if len(text) <= LONGEST else "{}")
        self.client.set_tag(run_id, MARKED, told)

    def _tie(self, member: Run, parent: str, mark: Mapping[str, Any], told: int) -> None:
        run_id = member.info.run_id
        if int(member.data.tags.get(MARKED, 0)) <= told:
            for name, value in {PARENT: parent, **mark.get("tags", {}), MARKED: str(told)}.items():
                self.client.set_tag(run_id, name, value)
        for name in mark.get("models", ()):
            self._register(member, name, told)

    def _register(self, member: Run, name: str, told: int) -> None:
        """The member's encoder as a version of the registered model `name`, with the alias `best`."""
        mine = f"source_run_id = '{member.info.run_id}'"
        ready = self.client.search_logged_models([member.info.experiment_id], mine)
        model = next((one for one in ready if one.status == LoggedModelStatus.READY), None)
        if model is None:
            return  # its record comes later, and finds what is remembered
        try:
            known = self.client.get_registered_model(name)
        except MlflowException:
            known = self.client.create_registered_model(name, {"pretextbench": "true"})
        version = self._version(name, model, member)
        if int(known.tags.get(MARKED, 0)) <= told:
            self.client.set_registered_model_alias(name, BEST, version)
            self.client.set_registered_model_tag(name, MARKED, str(told))

    def _version(self, name: str, model: Any, member: Run) -> str:
        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.run_id == member.info.run_id:
                return str(version.version)
        tags = {tag: member.data.tags[tag] for tag in ("method", "seed") if tag in member.data.tags}
        made = self.client.create_model_version(
            name, model.model_uri, member.info.run_id, tags, model_id=model.model_id
        )
        return str(made.version)


def _mark(what: Record, key: str) -> dict[str, Any]:
    models = [name for name, member in what.models.items() if member == key]
    return {"tags": what.marks.get(key, {}), **({"models": models} if models else {})}
