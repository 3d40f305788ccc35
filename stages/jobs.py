"""From the files of earlier stages to a training job: the same reading for augment and pretrain."""

import json
from typing import Any, NamedTuple

from pretextbench import registry
from pretextbench.augment import Policy
from pretextbench.budget import Job
from pretextbench.errors import UserError
from pretextbench.params import MethodParams, Params
from pretextbench.saved import read_tensors
from pretextbench.section import parse
from stages import layout


class Contestant(NamedTuple):
    """A method as the inventory found it, imported."""

    plugin: registry.Plugin
    source_hash: str
    method: Any
    params: MethodParams


def contestant(name: str) -> Contestant:
    """Import a method and give it the parameters that the inventory wrote.

    Raises:
        UserError: the inventory does not list it.
        PluginError: it cannot be used.
    """
    entries = json.loads(layout.METHODS.read_text()) if layout.METHODS.is_file() else {}
    if name not in entries:
        raise UserError(
            f"Method {name!r} is not in {layout.METHODS} (found: {', '.join(entries) or 'nothing'}). "
            "List it under compare.methods in params.yaml and run `dvc repro`."
        )
    entry, method = entries[name], registry.load(name)
    params = parse(method.Params, entry["params"], str(layout.METHODS), name)
    return Contestant(registry.find(name), entry["source_hash"], method, params)


def job(name: str, seed: int, params: Params) -> Job:
    """The training job of a method and seed, with the policy and the tensors that its augment stage froze."""
    who, folder = contestant(name), layout.augmented(name)
    policy = Policy.read(folder / "policy.json")
    derived = read_tensors(folder / "derived.safetensors", "augment")
    return Job(*who, params.encoder, params.pretrain, policy.recipe, derived, seed)
