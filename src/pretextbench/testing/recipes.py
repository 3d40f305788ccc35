"""What a method asks to see, and what it does with it: the recipe is data, the views stay, the size is any."""

import torch

from pretextbench.augment import Augmenter, as_float
from pretextbench.errors import UserError
from pretextbench.recipe import Recipe
from pretextbench.testing.bench import SIZE, batch, build, default_params, images
from pretextbench.testing.verdict import CheckFailed, Method, require

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
