"""A run with nothing to do is known before Prefect is needed, which would take most of its time."""

import time

from pipelines import graph, outcome, server
from pipelines.graph import Node
from pipelines.outcome import Outcome
from pipelines.processes import Children
from pretextbench.project.environment import RECORDED


def settled(nodes: list[Node], children: Children) -> list[Outcome] | None:
    """Run what always runs (the inventory); how all `nodes` ended where nothing else is to be done, else None.

    Raises:
        UserError: DVC cannot tell what is stale.
    """
    roots = [node for node in nodes if node.always and not node.needs]
    rest = [node.name for node in nodes if node not in roots]
    if any(node.always and node.needs for node in nodes) or graph.stale(rest):
        return None
    ended = {root.name: _repro(root.name, children) for root in roots}
    if not all(result.good for result in ended.values()) or graph.stale(rest):
        return None
    return [ended.get(node.name) or Outcome(node.name, "up to date") for node in nodes]


def _repro(stage: str, children: Children) -> Outcome:
    log = server.folder(children.root) / "logs" / f"{stage.replace('/', '_')}.log"
    start = time.monotonic()
    try:
        status = children.run([*graph.DVC, "repro", "--single-item", stage], log, {RECORDED: "nothing else to do"})
    except KeyboardInterrupt:
        children.stop()
        raise
    return outcome.read(stage, status, log, time.monotonic() - start)
