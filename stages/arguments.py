"""Arguments of stages: a method and a seed, and the method as the inventory lists it."""

import argparse
import json
import re
from typing import Any, NamedTuple

from pretextbench import registry
from pretextbench.base.files import read_json
from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import NAME, MethodParams
from pretextbench.project import layout, search_space
from pretextbench.project.variant import budget_of


def only_method(stage: str, doc: str | None) -> str:
    """Read METHOD from the command line; a mistake prints the usage and exits with status 2."""
    parser = argparse.ArgumentParser(prog=f"python -m stages {stage}", description=(doc or stage).splitlines()[0])
    parser.add_argument("method", help="entry-point name")
    return str(parser.parse_args().method)


def method_and_seed(stage: str, doc: str | None) -> tuple[str, int]:
    """Read METHOD and SEED from the command line; a mistake prints the usage and exits with status 2."""
    parser = argparse.ArgumentParser(prog=f"python -m stages {stage}", description=(doc or stage).splitlines()[0])
    parser.add_argument("method", help="entry-point name of a method or control")
    parser.add_argument("seed", type=int, help="seed of weights, order and augmentation")
    arguments = parser.parse_args()
    if not re.fullmatch(NAME, arguments.method):  # it becomes a folder
        parser.error(f"METHOD is an entry-point name such as context-encoder, found {arguments.method!r}")
    return arguments.method, arguments.seed


def _entries() -> dict[str, Any]:
    return json.loads(layout.METHODS.read_text()) if layout.METHODS.is_file() else {}


def row_named(name: str) -> str:
    """The row of the comparison that a stage's METHOD is about: that of `simclr-96000` is simclr."""
    return budget_of(name, _entries())[0]


class Contestant(NamedTuple):
    """A method as the inventory found it, imported."""

    plugin: registry.Plugin
    source_hash: str
    method: Any
    params: MethodParams
    from_scratch: bool = False
    row: str = ""  # of the comparison
    images: int | None = None  # budget, where it is not that of `pretrain`: see compare.budgets


def contestant(name: str) -> Contestant:
    """Import a method and give it the parameters that the inventory wrote, with those that the tune stage chose.

    Raises:
        UserError: the inventory does not list it, its code was changed since, or the tune stage has not run.
        PluginError: it cannot be used.
    """
    entrant = untuned(name)
    if entrant.row not in (json.loads(layout.PLAN.read_text()) if layout.PLAN.is_file() else {}):  # a control
        return entrant
    chosen = read_json(layout.tuned(entrant.row) / layout.CHOSEN, "Run the tune stage; it writes it.")
    return entrant._replace(params=search_space.tuned(entrant.params, chosen)) if chosen else entrant


def untuned(name: str) -> Contestant:
    """Import a method and give it the parameters that the inventory wrote; raises as `contestant`."""
    entries = _entries()
    row, images = budget_of(name, entries)
    if row not in entries:
        raise UserError(
            f"Method {name!r} is not in {layout.METHODS} (found: {', '.join(entries) or 'nothing'}). "
            "List it under compare.methods in params.yaml and run `dvc repro`."
        )
    entry = entries[row]
    plugin = registry.find(entry.get("method", row))
    if registry.source_hash(plugin) != entry["source_hash"]:
        raise UserError(
            f"The code of method {name!r} was changed after the inventory of this run. Run `dvc repro` again: its "
            "results are then made by the new code."
        )
    method = registry.load(plugin.name)
    params = parse(method.Params, entry["params"], str(layout.METHODS), row)
    scratch = entry.get("from_scratch", False)
    return Contestant(plugin, entry["source_hash"], method, params, scratch, row, images)
