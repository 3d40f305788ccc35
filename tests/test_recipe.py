"""Recipes are data: they survive JSON, refuse what they do not know, and compare by content."""

import pytest
from pydantic import ValidationError

from pretextbench.base.section import parse
from pretextbench.recipe import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    PadCrop,
    RandomResizedCrop,
    Recipe,
    Solarize,
    View,
    augmented,
)

EVERY = (RandomResizedCrop(), PadCrop(), HorizontalFlip(), ColorJitter(), Grayscale(), GaussianBlur(), Solarize())
MULTI_CROP = Recipe(
    views=(
        View(ops=EVERY, draws=2),
        View(ops=(RandomResizedCrop(scale=(0.05, 0.14)), HorizontalFlip(p=0.3)), size=16, draws=6),
    )
)


@pytest.mark.parametrize("recipe", [Recipe(), augmented(*EVERY), MULTI_CROP])
def test_survives_json(recipe: Recipe) -> None:
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_every_operation_writes_its_name() -> None:
    dumped = augmented(*EVERY).model_dump(mode="json")["views"][0]["ops"]
    assert [op["op"] for op in dumped] == [
        "random_resized_crop",
        "pad_crop",
        "horizontal_flip",
        "color_jitter",
        "grayscale",
        "gaussian_blur",
        "solarize",
    ]


def test_the_default_is_the_image_once() -> None:
    assert Recipe().views == (View(ops=(), size=None, draws=1),)


def test_recipes_compare_by_content_and_cannot_be_changed() -> None:
    assert augmented(HorizontalFlip()) == augmented(HorizontalFlip(p=0.5))
    assert augmented(HorizontalFlip()) != augmented(HorizontalFlip(p=0.4))
    assert augmented(HorizontalFlip(), Grayscale()) != augmented(Grayscale(), HorizontalFlip())
    with pytest.raises(ValidationError, match="frozen"):
        HorizontalFlip().p = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "raw",
    [
        {"views": []},
        {"views": [{"ops": [{"op": "rotate"}]}]},
        {"views": [{"ops": [{"op": "grayscale", "p": 1.5}]}]},
        {"views": [{"ops": [{"op": "grayscale", "probability": 0.5}]}]},
        {"views": [{"draws": 0}]},
        {"views": [{"size": -3}]},
        {"views": [{"ops": [{"op": "color_jitter", "hue": 0.6}]}]},
        {"views": [{"ops": [{"op": "gaussian_blur", "sigma": [0.0, 1.0]}]}]},
        {"views": [{"ops": [{"op": "pad_crop", "padding": 0}]}]},
        {"views": [{"ops": [{"op": "solarize", "threshold": float("nan")}]}]},
    ],
)
def test_refuses_what_makes_no_sense(raw: object) -> None:
    with pytest.raises(Exception, match="views") as caught:
        parse(Recipe, raw, "a recipe")
    assert type(caught.value).__name__ == "UserError"
