"""Checks of what a method states: API version, parameters, description, recipe and image sizes."""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.picture import Picture
from pretextbench.errors import UserError
from pretextbench.method import API_VERSION, Batch, PretextMethod
from pretextbench.params import MethodParams
from pretextbench.project import search_space
from pretextbench.recipe import Recipe
from pretextbench.testing.bench import BATCH, SIZE, CheckFailed, Method, batch, build, default_params, images, require

OTHER_SIZES = (40, 96)  # pixels: no power of two, and the encoder's other stem


def recipe_is_data(method: Method) -> None:
    """The recipe survives JSON, depends on nothing but parameters and size, and draws the same pixels again."""
    params = default_params(method)
    recipe = method.recipe(params, SIZE)
    hint = "Return a pretextbench.recipe.Recipe, for example augmented(HorizontalFlip())"
    require(isinstance(recipe, Recipe), f"recipe() returned {type(recipe).__name__}", hint)
    frozen = Recipe.model_validate_json(recipe.model_dump_json())
    require(frozen == recipe, "the recipe changes when written and read", "Build it of the library's operations")
    hint = "Let it depend on nothing but its two arguments"
    require(method.recipe(params, SIZE) == recipe, "recipe() returns another recipe when called again", hint)
    pixels = as_float(torch.from_numpy(images()[:4]))
    augmenter = Augmenter(frozen, SIZE)
    draws = augmenter.draw(pixels)
    twice = zip(augmenter.apply(pixels, draws), augmenter.apply(pixels, draws), strict=True)
    require(
        all(torch.equal(a, b) for a, b in twice), "the same draws give other pixels", "Draw in `draw`, not in `apply`"
    )


def views_untouched(method: Method) -> None:
    """The loss does not write into the views that it is given."""
    training = build(method)
    for player in training.players:
        views = batch(training, player=player.name)
        before = [view.clone() for view in views.views]
        training.method.loss(views)
        same = all(torch.equal(a, b) for a, b in zip(before, views.views, strict=True))
        require(same, "loss() changed the views in place", "Copy before corrupting: the other player sees them too")


def image_sizes(method: Method) -> None:
    """The loss is finite at 40 and 96 pixels too, or a UserError says why it cannot be."""
    hint = "Size layers from encoder.channels, encoder.dim and data.image_size, not from 32 px"
    for size in OTHER_SIZES:
        try:
            training = build(method, size=size)
            for player in training.players:
                total = training.method.loss(batch(training, 4, player.name)).total
                require(bool(total.isfinite()), f"at {size} px the loss is {float(total.detach())}", hint)
        except UserError as error:
            if isinstance(error, CheckFailed):
                raise
        except Exception as error:  # whatever a method raises
            raise CheckFailed(f"at {size} px: {type(error).__name__}: {error}", hint) from error


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


def search_valid(method: Method) -> None:
    """The values that it states for tuning exist, are allowed, and are two or more of at most two parameters."""
    fault = next(search_space.mistakes(method), "")
    hint = 'Write `search = {"temperature": (0.1, 0.5)}`, or leave it out: rate and batch are searched for every method'
    require(not fault, fault, hint)


def described(method: Method) -> None:
    """The class has a docstring and names its reference."""
    own = (method.__doc__ or "").strip()
    require(bool(own), "the class has no docstring", "Describe in a sentence the network and what is minimised")
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
    training, losses = build(method), []
    for player in training.players:
        views = dataclasses.replace(batch(training, player=player.name), labels=labels)
        torch.manual_seed(2)
        losses.append(float(training.method.loss(views).total.detach()))
    return losses


SHOWN = 8  # images in the batch


@contextmanager
def _examined(method: Method, function: str) -> Iterator[tuple[PretextMethod, Batch]]:  # type: ignore[type-arg]
    """The method in evaluation mode and a batch; its state must not change."""
    training = build(method)
    training.method.eval()
    views, before = batch(training, SHOWN), {k: v.clone() for k, v in training.method.state_dict().items()}
    with torch.no_grad():
        yield training.method, views
    changed = [k for k, v in training.method.state_dict().items() if not torch.equal(v, before[k])]
    require(not changed, f"{function}() changed {changed[:5]}", "Only look: the pictures are no part of the training")


def show_well_formed(method: Method) -> None:
    """`show` returns pictures with a column for each header and a caption for each cell, and changes nothing."""
    with _examined(method, "show") as (pretext, views):
        for picture in pretext.show(views):
            hint = "Return a list of pretextbench.method.Picture"
            require(isinstance(picture, Picture), f"show() returned {type(picture).__name__}", hint)
            _picture(picture)


def _picture(picture: Picture) -> None:
    shape, where = tuple(picture.images.shape), f"picture {picture.title!r}"
    fine = len(shape) == 5 and shape[2] == 3 and shape[1] == len(picture.columns)
    fault = f"{where}: images {shape} under {len(picture.columns)} columns"
    require(fine, fault, "Expected are images (rows, columns, 3, H, W) and a header for each column")
    in_range = bool(picture.images.isfinite().all() and -1e-3 <= picture.images.min() <= picture.images.max() <= 1.001)
    require(in_range, f"{where}: pixels outside [0, 1]", "Clamp, and undo what was normalised")
    if picture.captions:
        sizes = {len(row) for row in picture.captions}
        fine = len(picture.captions) == shape[0] and sizes == {shape[1]}
        require(fine, f"{where}: the captions are not {shape[0]} rows of {shape[1]}", "Give one to every cell, or none")


def health_well_formed(method: Method) -> None:
    """`health` returns finite numbers by name, `symptoms` words, and both change nothing."""
    with _examined(method, "health") as (pretext, views):
        health = pretext.health(views)
        hint = "Guard against constant features and empty sets; call float() on tensors"
        bad = [name for name, value in health.items() if not math.isfinite(value)]
        require(not bad, f"health() returned numbers that are not finite: {bad}", hint)
        symptoms = pretext.symptoms(health)
        fine = isinstance(symptoms, list) and all(isinstance(symptom, str) for symptom in symptoms)
        require(fine, f"symptoms() returned {symptoms!r:.80}", "Return a list of sentences, empty when all is well")
