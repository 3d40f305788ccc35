"""Reasons why stages would run, from DVC's status. Only the inventory is run, and what it writes is not kept."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo

from pipelines.graph import Node, explained, within
from pretextbench.base.files import write_whole
from pretextbench.errors import UserError
from pretextbench.project.environment import RECORDED
from pretextbench.project.layout import SETTINGS

OUTPUT = {
    "deleted": "missing output {}",
    "modified": "output {} was changed by hand",
    "not in cache": "output {} is not in DVC's cache",
    "new": "output {} is not recorded",
}
INPUT = {"deleted": "missing {}", "modified": "changed {}", "new": "{} is not recorded"}
NEVER = "has not run yet"
ABSENT = object()  # the value of a missing parameter
WIDTH = 60  # characters of a value that are shown


class Status(NamedTuple):
    """Status of a stage by itself, without the stages that it needs."""

    reasons: list[tuple[str, str]]  # a path, empty for the stage itself, and the reason
    outs: list[str]  # paths


def explain(nodes: list[Node]) -> str:
    """The stages that would run, and the reasons.

    What always runs (the inventory) is run, outside DVC: what else is stale depends on the files that it writes.

    Raises:
        UserError: DVC cannot tell, or the inventory found a mistake.
    """
    roots = {node.name for node in nodes if node.always and not node.needs}
    try:
        with Repo(_wait_for_lock=True) as repo, contextlib.ExitStack() as restored:
            for stage in within(repo, roots):
                restored.enter_context(put_back([Path(out.fs_path) for out in stage.outs]))
                _take_stock(stage.cmd)
            with lock_repo(repo):
                stages = within(repo, [node.name for node in nodes])
                own = {stage.addressing: Status(list(_reasons(stage)), list(map(str, stage.outs))) for stage in stages}
    except DvcException as error:
        raise UserError(f"DVC cannot tell what is stale: {explained(str(error))}.") from error
    return lay_out(nodes, roots, own)


@contextlib.contextmanager
def put_back(files: list[Path]) -> Iterator[None]:
    """Give files their content back at the end: stages of a run that is at work now go on reading them.

    Files that did not exist before are removed.
    """
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    try:
        yield
    finally:
        for path, content in before.items():
            write_whole(path, content) if content is not None else path.unlink(missing_ok=True)


def _take_stock(commands: str | list[str]) -> None:
    """Run the commands of a stage, without a shell and without DVC, which would write into dvc.lock."""
    for command in [commands] if isinstance(commands, str) else commands:
        env = {**os.environ, RECORDED: "dry run"}
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, env=env)
        if done.returncode != 0:
            raise UserError(done.stderr.strip().removeprefix("error: ") or f"`{command}` ended with {done.returncode}")


def _reasons(stage: Any) -> Iterator[tuple[str, str]]:
    if stage.always_changed:
        yield "", "always runs"
    if not any(part.hash_info for part in [*stage.deps, *stage.outs]):
        yield "", NEVER
        return
    if stage.changed_stage():
        yield "", "changed command"
    for dep in [] if stage.frozen else stage.deps:
        yield from _parameters(dep) if isinstance(dep, ParamsDependency) else _states(dep, INPUT)
    for out in [] if stage.always_changed else stage.outs:  # what always runs was just run: its files are new
        yield from _states(out, OUTPUT)


def _states(part: Any, texts: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path, state in part.status().items():
        yield path, texts.get(state, "{} is " + state).format(path)


def _parameters(dep: Any) -> Iterator[tuple[str, str]]:
    """Each value that has changed since the stage ran."""
    old, new = dep.hash_info.value or {}, dep.read_params() if dep.exists else {}
    file = "" if str(dep) in (dep.DEFAULT_PARAMS_FILE, str(SETTINGS)) else f"{dep}: "
    for name in dep.params or {**new, **old}:
        for key, was, now in differences(name, old.get(name, ABSENT), new.get(name, ABSENT)):
            yield str(dep), f"{file}{key}{_change(was, now)}"


def differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The innermost values of two nested sections that differ: name, old, new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(f"{name}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
        yield name, old, new


def _change(old: Any, new: Any) -> str:
    """The end of a sentence about a value, which may be a whole section."""
    if isinstance(old, dict) or isinstance(new, dict):
        return " is new" if old is ABSENT else " is gone" if new is ABSENT else " is another section"
    return f": {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = "nothing" if value is ABSENT else text
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def lay_out(nodes: list[Node], roots: set[str], own: dict[str, Status]) -> str:
    """A line that counts the stages that would run, and below it each with its reasons."""
    reasons = _with_needs(nodes, roots, own)
    stale = len([name for name in reasons if name not in roots])
    head = f"{stale} of {len(nodes)} stages would run" if stale else f"All {len(nodes)} stages are current"
    also = f"; {', '.join(sorted(roots))} always runs" if roots else ""
    lines = _grouped({name: texts for name, texts in reasons.items() if name not in roots})
    return "\n".join([f"{head}{also}. Nothing was changed.", *(["", *lines] if lines else [])])


def _with_needs(nodes: list[Node], roots: set[str], own: dict[str, Status]) -> dict[str, tuple[str, ...]]:
    """The stages that would run, in order, and the reasons: their own, and the stages that they wait for."""
    shown: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        waited = [need for need in node.needs if need in shown and need not in roots]
        made = [out for need in waited for out in own[need].outs]  # will be there, or another, by then
        texts = [text for path, text in own[node.name].reasons if not any(_overlap(path, out) for out in made)]
        if texts or waited:
            new = texts == [NEVER]  # then what it needs explains nothing
            kinds = ", ".join(dict.fromkeys(need.partition("@")[0] for need in waited))
            shown[node.name] = (*texts, *([f"needs {kinds}"] if waited and not new else []))
    return shown


def _grouped(reasons: dict[str, tuple[str, ...]]) -> list[str]:
    """Stages of one name and with the same reasons on one line, which has the names of their methods."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, texts in reasons.items():
        stage, _, of = name.partition("@")
        groups.setdefault((stage, texts), []).append(of)
    wide = max((len(stage) for stage, _ in groups), default=0) + 2
    width = max(40, min(100, shutil.get_terminal_size().columns))
    lines = []
    for (stage, texts), items in groups.items():
        first = f"{', '.join(items)}: {texts[0]}" if any(items) else texts[0]
        for number, text in enumerate((first, *texts[1:])):
            start = "" if number else stage
            lines += textwrap.wrap(text, width, initial_indent=f"{start:<{wide}}", subsequent_indent=" " * wide)
    return lines


def _overlap(left: str, right: str) -> bool:
    return bool(left) and (PurePath(left).is_relative_to(right) or PurePath(right).is_relative_to(left))
