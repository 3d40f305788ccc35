"""Tags of a run in MLflow: those that people read, and the bookkeeping of this library as JSON in one more.

Bookkeeping has the keys

    key      identity of the run, see `Record.key`
    told     stage -> time (ms) of its report that is written; an older report is ignored
    marked   time (ms) of the last comparison that has tagged this run, or of the report of this comparison
    members  of a comparison: short hashes of the keys of its runs, which may be written after it
    marks    of a comparison: short hash -> tags and models of that run

Stores of earlier versions have a tag for each, `pretextbench.key` and so on. They are read, and replaced when the run
is written again.
"""

import json
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

TAG = "pretextbench"
EARLIER = "pretextbench."  # prefix of the tags of earlier versions
TOLD = "told."
LIMIT = 5000  # characters of a tag; that of a server may be 5000


def bookkeeping(tags: Mapping[str, str]) -> dict[str, Any]:
    """The bookkeeping in the tags of a run; empty where it has none."""
    if TAG in tags:
        return dict(json.loads(tags[TAG]))
    old = {name.removeprefix(EARLIER): value for name, value in tags.items() if name.startswith(EARLIER)}
    notes: dict[str, Any] = {name: old[name] for name in ("key",) if name in old}
    notes |= {"marked": int(old["marked"])} if "marked" in old else {}
    notes |= {"members": old["members"].split()} if "members" in old else {}
    notes |= {"marks": json.loads(old["marks"])} if "marks" in old else {}
    result = {name.removeprefix(TOLD): int(value) for name, value in old.items() if name.startswith(TOLD)}
    return notes | ({"told": result} if result else {})


def text(notes: Mapping[str, Any]) -> str:
    """Bookkeeping as the value of its tag. What does not fit is left out: the last marks, then the last members."""
    marks, members = dict(notes.get("marks", {})), list(notes.get("members", ()))
    whole = _json(notes)
    while len(whole) > LIMIT and (marks or members):
        if marks:
            marks.popitem()
        else:
            members.pop()
        whole = _json({**notes, "marks": marks, "members": members})
    return whole


def _json(notes: Mapping[str, Any]) -> str:
    return json.dumps(notes, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def note(client: MlflowClient, run_id: str, **changes: Any) -> None:
    """Change bookkeeping of a run; `told` is added to what is there. Tags of earlier versions are removed.

    The caller holds the lock of the run: the tag is read and written.
    """
    tags = client.get_run(run_id).data.tags
    before = bookkeeping(tags)
    if "told" in changes:
        changes["told"] = {**before.get("told", {}), **changes["told"]}
    client.set_tag(run_id, TAG, text({**before, **changes}))
    for name in tags:
        if name.startswith(EARLIER):
            client.delete_tag(run_id, name)


def clean_key(key: str) -> str:
    """A key without the character that ends a text in MLflow's searches."""
    return key.replace("'", "")


def searches(key: str) -> tuple[str, str]:
    """Searches for the runs with a key: in the bookkeeping, and in a store of an earlier version.

    The first may find others too: `_` in a key stands for any letter.
    """
    return f"""tags.`{TAG}` LIKE '%"key":"{clean_key(key)}"%'""", f"tags.`{EARLIER}key` = '{clean_key(key)}'"


def parent_searches(member: str) -> tuple[str, str]:
    """Searches for the comparisons with a member, by its short hash, as above."""
    return f"""tags.`{TAG}` LIKE '%"{member}"%'""", f"tags.`{EARLIER}members` LIKE '%{member}%'"


def legible(run: Run, tags: Mapping[str, str], limit: int = LIMIT) -> tuple[dict[str, str], list[str]]:
    """The tags to be set, without empty ones, and the names of those that the run has and that are empty now."""
    filled = {name: value[:limit] for name, value in tags.items() if value}
    return filled, [name for name, value in tags.items() if not value and name in run.data.tags]
