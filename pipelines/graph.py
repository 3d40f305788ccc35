"""The graph of dvc.yaml: its stages, what each needs, and the part that the user selects."""

import logging
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import get_active_graph
from dvc.stage.exceptions import StageNotFound

from pretextbench.errors import UserError, nearest
from pretextbench.params import load
from pretextbench.project import layout
from pretextbench.project.variant import at_budget

logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)  # no bars of DVC's within our table of stages
logging.getLogger("dvc.rwlock").setLevel(logging.ERROR)  # nor a warning about each stage that a second Ctrl-C killed
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]  # without the switch, stages side by side refuse each other
TRAINING = "pretrain.devices"  # in dvc.yaml, of stages that train
BUSY = re.compile(r"'([^'\n]+)' is busy, it is being blocked by:\n((?: *\(PID \d+\): .*\n?)+)")
MISSING = re.compile(r"Could not find '[\w.]+'")  # of a parameter that dvc.yaml names
PROCESS = re.compile(r"\(PID (\d+)\): (.*)")
WITHOUT_GIT = (
    "This copy has no .git, and DVC wants one. Clone the repository, or type `git init` here, or "
    "`dvc config --local core.no_scm true`"
)


@dataclass(frozen=True)
class Node:
    """One stage of the graph."""

    name: str  # as DVC addresses it: pretrain@simclr-0
    needs: tuple[str, ...]  # the stages it waits for
    always: bool  # runs every time (always_changed)
    devices: int = 0  # accelerators that it uses, where there are any


def read(targets: list[str]) -> list[Node]:
    """The stages of the working folder that lead to `targets` (none: all of them), each after those it needs.

    Raises:
        UserError: there is no pipeline, it has a mistake, or a target is not in it; other messages are DVC's.
    """
    try:
        with Repo() as repo:
            graph = get_active_graph(repo.index.graph)  # a frozen stage waits for nothing
            wanted = {stage for target in targets for stage in _stages(repo, target)} or set(graph)
            ancestors = {need for stage in wanted for need in networkx.descendants(graph, stage)}
            part = graph.subgraph(wanted | ancestors)
            return [
                Node(
                    stage.addressing,
                    tuple(need.addressing for need in part.successors(stage)),
                    stage.always_changed,
                    _devices(stage),
                )
                for stage in networkx.dfs_postorder_nodes(part)
            ]
    except DvcException as error:
        detail = f" ({error.__cause__})" if error.__cause__ else ""
        raise UserError(f"DVC cannot read the pipeline in {Path.cwd()}: {explained(str(error))}{detail}.") from error


def _stages(repo: Repo, target: str) -> list[Any]:
    """DVC's stages of a target: one, or all of a name such as `pretrain`. Its own message would not say which exist."""
    try:
        return list(repo.stage.collect(target))
    except StageNotFound:
        names = [stage.addressing for stage in repo.index.stages]
        known = [*dict.fromkeys(name.partition("@")[0] for name in names), *names]
        raise UserError(
            f"There is no stage {target!r}.{nearest(target, known)} The stages of this comparison: {', '.join(names)}."
        ) from None


def explained(text: str) -> str:
    """A message of DVC that needs an explanation, in the words of this project; any other text as it is."""
    if match := BUSY.search(text):
        processes = PROCESS.findall(match[2])
        names = " and ".join(f"process {number} ({command.strip()})" for number, command in processes)
        numbers = " ".join(dict(processes))
        return (
            f"{match[1]} is in use by {names}, perhaps left behind by a run that was killed. Wait until it has ended, "
            f"or end it with `kill {numbers}`; the next run continues"
        )
    if MISSING.search(text):
        return f"{text}: dvc.yaml makes its stages from it. Add it to params.yaml; an empty list is `[]`"
    return f"{text}. {WITHOUT_GIT}" if text.endswith("is not a git repository") else text


def within(repo: Repo, names: Iterable[str]) -> list[Any]:
    """DVC's own objects of the stages with these names."""
    wanted = set(names)
    return [stage for stage in repo.index.stages if stage.addressing in wanted]


def _devices(stage: Any) -> int:
    """The number in `meta: {devices: ...}` of dvc.yaml, or in the parameter that it names."""
    count = (getattr(stage, "meta", None) or {}).get("devices", 0)
    if count != TRAINING:
        return int(count)
    try:
        training = load(layout.PARAMS).pretrain
    except UserError:  # the inventory gives the message, and nothing is trained
        return 1
    return 0 if training.accelerator == "cpu" else training.devices


def stale(names: list[str]) -> set[str]:
    """Those of `names` that DVC would run or check out now.

    Raises:
        UserError: DVC cannot tell; the message is DVC's.
    """
    if not names:
        return set()
    try:
        # In this process and over DVC's index: another process would take a second to start, and `repo.status(names)`
        # reads dvc.yaml and dvc.lock again for each name.
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
            return {stage.addressing for stage in within(repo, names) if stage.status(check_updates=True)}
    except DvcException as error:
        raise UserError(f"DVC cannot tell what is stale: {explained(str(error))}.") from error


def may_run(nodes: Iterable[Node], stale: Iterable[str]) -> set[str]:
    """The names in `stale`, and those of all `nodes` that follow from them; each node comes after those it needs."""
    names = set(stale)
    for node in nodes:
        if names & set(node.needs):
            names.add(node.name)
    return names


def targets(methods: Iterable[str], stages: Iterable[str]) -> list[str]:
    """Those of `stages` that belong to one of `methods`, a method or control of the comparison in params.yaml.

    Raises:
        UserError: a method is not part of the comparison, or params.yaml has a mistake.
    """
    compare = load(layout.PARAMS).compare
    known = compare.methods + compare.controls + compare.references
    items = set[str]()
    for name in methods:
        if name not in known:
            raise UserError(
                f"There is no method {name!r} in this comparison.{nearest(name, known)} Its methods and controls are "
                f"{', '.join(known)}; more are listed under compare.methods in params.yaml."
            )
        rows = [name, *(at_budget(name, images) for images in compare.budgets)]
        items |= {name, *(f"{row}-{seed}" for row in rows for seed in (*compare.seeds, 0))}
    return [stage for stage in stages if stage.partition("@")[2] in items]
