"""The base classes of methods that compare views: a subclass needs a head and a loss, and may replace all else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, Loss
from pretextbench.parts import BY_VIEW, MultiCropMethod, MultiCropParams, PairMethod, PairParams, require_batch
from pretextbench.recipe import Recipe
from tests.pair_fixtures import SIDE


class Params(PairParams):
    """Parameters of its own."""

    head_dim: int = 6


class Pair(PairMethod[Params]):
    """A head of one layer, and the smallest loss of two views."""

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.projector = nn.Linear(encoder.dim, params.head_dim)

    def loss(self, batch: Batch) -> Loss:
        """The squared distance of the projections."""
        z1, z2 = self.project(batch.views)
        return Loss((z1 - z2).square().mean())


class Derived(Pair):
    """It inherits the parameters, and has another augmentation."""

    @classmethod
    def recipe(cls, params: PairParams, image_size: int) -> Recipe:
        """The image as it is."""
        return Recipe()


class Crops(MultiCropMethod[MultiCropParams]):
    """A head of one layer on all crops."""

    def __init__(self, params: MultiCropParams, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, 6)


def test_the_parameters_are_those_named_in_the_brackets() -> None:
    assert [method.Params for method in (Pair, Derived, Crops)] == [Params, Params, MultiCropParams]


@torch.no_grad()
def test_two_views_are_augmented_projected_shown_and_measured(built: Any, batch: Any) -> None:
    params = Params(solarize=0.2)
    pair, views = built(Pair, params).eval(), batch(4)
    assert Pair.recipe(params, SIDE) == params.pair(SIDE)
    assert Derived.recipe(params, SIDE) == Recipe()
    z1, z2 = pair.project(views.views)
    for z, view in ((z1, views.views[0]), (z2, views.views[1])):
        torch.testing.assert_close(z, pair.projector(pair.encoder(view)))
    torch.testing.assert_close(pair.loss(views).total, (z1 - z2).square().mean())
    assert [picture.title for picture in pair.show(views)] == ["two views", "cosine of views"]
    assert set(pair.health(views)) == {"projection_std", "projection_rank", "alignment", "uniformity"}


def test_batch_norm_sees_one_view_at_a_time(built: Any, batch: Any) -> None:
    pair, views = built(Pair, Params()), batch(4)
    seen: list[Tensor] = []
    pair.encoder.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    pair.project(views.views)
    assert [x.shape[0] for x in seen] == [4, 4]
    assert all(torch.equal(x, view) for x, view in zip(seen, views.views, strict=True))


@torch.no_grad()
def test_crops_of_a_size_share_a_pass(built: Any, batch: Any) -> None:
    params = MultiCropParams(local_views=1)
    crops, views = built(Crops, params).eval(), batch(4, sides=(SIDE, SIDE, SIDE // 2))
    assert Crops.recipe(params, SIDE) == params.crops(SIDE)
    z = crops.project(views.views)
    for own, view in zip(z, views.views, strict=True):
        torch.testing.assert_close(own, crops.head(crops.encoder(view)), rtol=1e-4, atol=1e-5)
    assert [picture.title for picture in crops.show(views)] == ["crops", "cosine of views"]


@pytest.mark.parametrize(
    ("known", "least", "whole", "message"),
    [
        ({}, BY_VIEW, True, None),  # nothing is known of the training
        ({"batch": 4, "part": 2}, 2, True, None),  # two processes
        ({"batch": 4, "part": 2}, BY_VIEW, True, None),
        ({"batch": 2, "part": 2}, BY_VIEW, False, "'own' needs at least 3 images at a time, found 2"),
        ({"batch": 4, "part": 1}, BY_VIEW, False, "at least 2 images in each batch of a process, found 1"),
        ({"batch": 4, "part": 2, "accumulate": 2}, 2, False, None),
        (
            {"batch": 4, "part": 2, "accumulate": 2},
            2,
            True,
            "pretrain.accumulate, 2, would make it compare 2 at a time",
        ),
    ],
)
def test_what_a_constructor_asks_of_the_training(
    known: dict[str, int], least: int, whole: bool, message: str | None
) -> None:
    data = Data(SIDE, (0.5,) * 3, (0.25,) * 3, images=100, **known)  # type: ignore[arg-type]
    if message is None:
        require_batch("own", data, least=least, whole=whole)
        return
    with pytest.raises(UserError, match=message):
        require_batch("own", data, least=least, whole=whole)
