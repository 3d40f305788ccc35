"""What a method states of itself: version, parameters, reference, and that it needs no labels."""

import dataclasses

import torch
from torch import Tensor

from pretextbench.method import API_VERSION
from pretextbench.params import MethodParams
from pretextbench.testing.bench import BATCH, batch, build, default_params
from pretextbench.testing.verdict import Method, require


def api_version(method: Method) -> None:
    """The method states the version of the contract that it was written for."""
    stated = getattr(method, "api_version", None)
    hint = f"Write `api_version = {API_VERSION}` in the class"
    require(stated == API_VERSION, f"api_version is {stated}, expected {API_VERSION}", hint)


def parameters_documented(method: Method) -> None:
    """Every parameter has a default and a description; unknown keys are refused."""
    require(
        issubclass(method.Params, MethodParams),
        f"Params is {method.Params!r}",
        "Subclass pretextbench.params.MethodParams",
    )
    needed = [name for name, field in method.Params.model_fields.items() if field.is_required()]
    require(not needed, f"parameters without a default: {needed}", "Give each a default that works at 32 px")
    default_params(method)
    own = {name: field for name, field in method.Params.model_fields.items() if name not in MethodParams.model_fields}
    bare = [name for name, field in own.items() if not field.description]
    require(not bare, f"parameters without a description: {bare}", "Use Field(default, description=...)")
    forbids = method.Params.model_config.get("extra") == "forbid"
    require(forbids, "Params takes unknown keys", "Keep extra='forbid': a misspelt key must not be ignored")


def described(method: Method) -> None:
    """The class has a docstring and names its reference."""
    own = (method.__doc__ or "").strip()
    require(bool(own), "the class has no docstring", "Say in a sentence what the network is and what is minimised")
    require(bool(method.reference), "`reference` is empty", "Name the paper, or say that there is none")


def no_labels(method: Method) -> None:
    """A pretext method learns from images alone: it asks for no labels, and labels change nothing."""
    hint = "Remove it: labels are only for the library's supervised control"
    require(not method.uses_labels, "uses_labels is True", hint)
    unlike = [None, torch.arange(BATCH) % 2, torch.arange(BATCH) % 3]
    losses = [_losses(method, labels) for labels in unlike]
    require(losses[0] == losses[1] == losses[2], "the loss changes with the labels", "Do not read batch.labels")


def _losses(method: Method, labels: Tensor | None) -> list[float]:
    """Of every player, on one batch with these labels (B,) and one seed."""
    training, found = build(method), []
    for player in training.players:
        views = dataclasses.replace(batch(training, player=player.name), labels=labels)
        torch.manual_seed(2)
        found.append(float(training.method.loss(views).total.detach()))
    return found
