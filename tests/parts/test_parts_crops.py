"""Multi-crop: sizes, numbers and areas of the crops, one pass for each size, and what is refused."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pretextbench.augment.pipeline import Augmenter
from pretextbench.errors import UserError
from pretextbench.parts import MultiCropParams, crop_pictures, encode_crops


def test_global_crops_come_first_and_local_ones_are_smaller() -> None:
    recipe = MultiCropParams(crop_min=0.3, local_views=3).crops(32)
    views = Augmenter(recipe, 32)(torch.rand(2, 3, 32, 32))
    assert [view.shape[-1] for view in views] == [32, 32, 16, 16, 16]
    large, small = recipe.views
    assert (large.ops[0].scale, small.ops[0].scale) == ((0.3, 1.0), (0.08, 0.4))
    assert [op.op for op in large.ops] == [op.op for op in small.ops]


def test_without_local_crops_there_are_the_two_views_of_a_pair() -> None:
    params = MultiCropParams(local_views=0)
    assert params.crops(32) == params.pair(32)
    (only,) = MultiCropParams(local_views=0, global_views=4).crops(32).views
    assert only.draws == 4


def test_all_global_crops_but_the_first_are_solarised() -> None:
    first, second, local = MultiCropParams(solarize=0.2, global_views=3).crops(32).views
    assert (first.draws, second.draws) == (1, 2)
    assert [view.ops[-1].op for view in (first, second, local)] == ["grayscale", "solarize", "grayscale"]


def test_a_local_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"A local crop of 33 px is larger than the images, which have 32 px\. Lower"):
        MultiCropParams(local_size=33).crops(32)
    assert MultiCropParams(local_size=32).crops(32).views[1].size == 32
    with pytest.raises(ValidationError, match=r"`local_min` is above `local_max`: 0\.5 and 0\.4"):
        MultiCropParams(local_min=0.5)


class Counted(nn.Module):
    """Mean of each image, after a norm over the batch; it counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(tuple(x.shape))
        return x.mean((2, 3)) if x.ndim == 4 else x + 1


def test_crops_of_a_size_share_a_pass_and_keep_their_order() -> None:
    encoder, head = Counted(), Counted()
    views = [torch.full((2, 3, side, side), float(i)) for i, side in enumerate([32, 32, 16, 16, 16])]
    outputs = encode_crops(encoder, head, views)
    assert encoder.passes == [(4, 3, 32, 32), (6, 3, 16, 16)]
    assert head.passes == [(10, 3)]
    assert [float(z.mean()) for z in outputs] == [1, 2, 3, 4, 5]
    assert {z.shape for z in outputs} == {(2, 3)}


def test_pictures_show_small_crops_in_a_frame() -> None:
    views = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 5, 5)]
    crops, cosines = crop_pictures(MultiCropParams(), views, torch.eye(2), torch.eye(2))
    assert crops.columns == ("global 1", "global 2", "local 1")
    assert crops.images.shape == (2, 3, 3, 8, 8)
    assert float((crops.images[:, 2] == 0).sum()) == 2 * 3 * 25
    assert cosines.images.shape == (1, 1, 3, 4, 4)
