"""The rules of the contract, one function each; a broken rule raises CheckFailed."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretextbench.augment import Augmenter, as_float
from pretextbench.checkpoint import Checkpoint
from pretextbench.errors import UserError
from pretextbench.method import API_VERSION, Batch, Picture
from pretextbench.params import MethodParams
from pretextbench.recipe import Recipe
from pretextbench.testing.bench import SIZE, Method, advance, batch, build, default_params, images, require


def api_version(method: Method) -> None:
    """The method states the version of the contract that it was written for."""
    stated = getattr(method, "api_version", None)
    require(
        stated == API_VERSION, f"api_version is {stated}, expected {API_VERSION}: write `api_version = {API_VERSION}`"
    )


def parameters_documented(method: Method) -> None:
    """Every parameter has a default and a description; unknown keys are refused."""
    require(issubclass(method.Params, MethodParams), "Params must subclass pretextbench.params.MethodParams")
    default_params(method)
    own = {name: field for name, field in method.Params.model_fields.items() if name not in MethodParams.model_fields}
    bare = [name for name, field in own.items() if not field.description]
    require(not bare, f"parameters without a description: {bare}. Use Field(default, description=...)")
    require(method.Params.model_config.get("extra") == "forbid", "Params must refuse unknown keys: keep extra='forbid'")
    require(bool(method.reference), "`reference` is empty: name the paper, or say that there is none")


def no_labels(method: Method) -> None:
    """A pretext method learns from images alone."""
    require(not method.uses_labels, "uses_labels is True: labels are only for the library's supervised control")


def recipe_is_data(method: Method) -> None:
    """The recipe survives JSON, depends on nothing but parameters and size, and draws the same pixels again."""
    params = default_params(method)
    recipe = method.recipe(params, SIZE)
    require(isinstance(recipe, Recipe), f"recipe() returned {type(recipe).__name__}, expected a Recipe")
    require(Recipe.model_validate_json(recipe.model_dump_json()) == recipe, "the recipe changes when written and read")
    require(method.recipe(params, SIZE) == recipe, "recipe() returns another recipe when called again")
    pixels = as_float(torch.from_numpy(images()[:4]))
    augmenter = Augmenter(recipe, SIZE)
    draws = augmenter.draw(pixels)
    same = all(
        torch.equal(a, b) for a, b in zip(augmenter.apply(pixels, draws), augmenter.apply(pixels, draws), strict=True)
    )
    require(same, "the same draws give other pixels")


def loss_well_formed(method: Method) -> None:
    """Every player's loss is one finite float with a gradient, and `parts` holds scalars."""
    training = build(method)
    for player in training.players:
        views = batch(training)
        loss = training.method.loss(Batch(views.views, views.index, player=player.name))
        where = f"loss for player {player.name!r}"
        require(loss.total.shape == (), f"{where} has shape {tuple(loss.total.shape)}, expected a scalar")
        require(loss.total.dtype == torch.float32, f"{where} is {loss.total.dtype}, expected float32")
        require(bool(loss.total.isfinite()), f"{where} is {loss.total.item()} at initialisation")
        require(loss.total.requires_grad, f"{where} has no gradient")
        odd = [name for name, value in loss.parts.items() if value.shape != ()]
        require(not odd, f"parts {odd} are not scalars")


def views_untouched(method: Method) -> None:
    """The loss does not write into the views that it is given."""
    training = build(method)
    views = batch(training)
    before = [view.clone() for view in views.views]
    for player in training.players:
        training.method.loss(Batch(views.views, views.index, player=player.name))
    same = all(torch.equal(a, b) for a, b in zip(before, views.views, strict=True))
    require(same, "loss() changed the views in place: copy before corrupting")


def gradients_reach(method: Method) -> None:
    """After a player's turn each of its parameters has a gradient; nobody owns a parameter twice or leaves one out."""
    training = build(method)
    owned = [id(p) for player in training.players for p in player.parameters]
    require(len(owned) == len(set(owned)), "a parameter belongs to two players")
    free = [name for name, p in training.method.named_parameters() if p.requires_grad and id(p) not in set(owned)]
    require(not free, f"trainable parameters that no player owns: {free[:5]}. List them in players(), or freeze them")
    names = {id(p): name for name, p in training.method.named_parameters()}
    for player in training.players:
        training.method.zero_grad(set_to_none=True)
        views = batch(training)
        training.method.loss(Batch(views.views, views.index, player=player.name)).total.backward()
        missed = [names.get(id(p), "a parameter outside the method") for p in player.parameters if p.grad is None]
        require(not missed, f"no gradient reaches {missed[:5]} of player {player.name!r}")


def seeded(method: Method) -> None:
    """Same seed, same losses; another seed, other weights and losses: all randomness comes from torch's generator."""
    first, again, other = (advance(build(method, seed), 2) for seed in (0, 0, 1))
    require(first == again, f"two runs with one seed give {first} and {again}: draw from torch's global generator")
    require(first != other, "two seeds give the same losses: do not seed anything yourself")


def resumes(method: Method) -> None:
    """Saved after two steps and restored into a new object, the next steps are bit for bit the same."""
    whole = build(method)
    advance(whole, 4)
    half = build(method)
    advance(half, 2)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "run")
        checkpoint.save(half.state())
        resumed, state = build(method), checkpoint.load()
    require(state is not None, "the checkpoint was not written")
    resumed.restore(state or {})
    advance(resumed, 2)
    expected, found = whole.method.state_dict(), resumed.method.state_dict()
    other = [name for name, value in expected.items() if not torch.equal(value, found[name])]
    require(not other, f"a resumed run ends with other {other[:5]}: keep state in registered buffers")


def learns(method: Method) -> None:
    """Thirty steps lower the loss of the first player."""
    losses = advance(build(method, steps=30), 30)
    require(bool(np.isfinite(losses).all()), f"the loss is not finite: {losses}")
    early, late = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    require(late < early, f"the loss does not fall in 30 steps: {early:.4f} -> {late:.4f}")


def half_precision(method: Method) -> None:
    """Under bf16 autocast the loss stays within 5 % (and 0.05) of float32."""
    losses = []
    for enabled in (False, True):
        training = build(method)
        views = batch(training)
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(float(training.method.loss(views).total.detach()) if training.players else 0.0)
    plain, half = losses
    require(abs(plain - half) <= 0.05 * abs(plain) + 0.05, f"float32 gives {plain:.4f}, bf16 autocast {half:.4f}")


def speaks(method: Method) -> None:
    """`show` returns pictures, `health` finite numbers, `symptoms` words; all in evaluation mode, changing nothing."""
    training = build(method)
    training.method.eval()
    views, before = batch(training, 8), {k: v.clone() for k, v in training.method.state_dict().items()}
    with torch.no_grad():
        pictures, health = training.method.show(views), training.method.health(views)
    for picture in pictures:
        require(isinstance(picture, Picture), f"show() returned {type(picture).__name__}, expected Picture")
        _picture(picture)
    bad = [name for name, value in health.items() if not np.isfinite(value)]
    require(not bad, f"health() returned numbers that are not finite: {bad}")
    words = training.method.symptoms(health)
    require(all(isinstance(word, str) for word in words), "symptoms() must return strings")
    changed = [k for k, v in training.method.state_dict().items() if not torch.equal(v, before[k])]
    require(not changed, f"show() or health() changed {changed[:5]}")


def _picture(picture: Picture) -> None:
    shape, where = tuple(picture.images.shape), f"picture {picture.title!r}"
    fine = len(shape) == 5 and shape[2] == 3 and shape[1] == len(picture.columns)
    require(fine, f"{where}: images {shape}, {len(picture.columns)} columns; expected (rows, columns, 3, H, W)")
    if picture.captions:
        sizes = {len(row) for row in picture.captions}
        require(len(picture.captions) == shape[0] and sizes == {shape[1]}, f"{where}: expected a caption per cell")


def batch_of_one(method: Method) -> None:
    """One image alone gives a finite loss in evaluation mode, or a UserError that says why it cannot."""
    training = build(method)
    training.method.eval()
    try:
        with torch.no_grad():
            total: Tensor = training.method.loss(batch(training, 1)).total
    except UserError:
        return
    require(bool(total.isfinite()), f"the loss of a single image is {float(total)}")


def quiet(method: Method) -> None:
    """Two steps raise no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        advance(build(method), 2)
    require(not caught, f"warnings: {[str(w.message)[:200] for w in caught][:3]}")
