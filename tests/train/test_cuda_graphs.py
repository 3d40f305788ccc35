"""Recorded augmentation: the numbers survive the packing, and on a GPU a replay gives the bits of an ordinary call."""

import pytest
import torch

from pretextbench.augment.pipeline import Augmenter
from pretextbench.recipe import ColorJitter, Recipe, augmented
from pretextbench.train.cuda_graphs import Recorded, fixed, for_device, packed, unpacked
from tests.augment.test_pipeline import FULL
from tests.drawn import SIDE, images

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def test_packed_numbers_come_back_in_their_places() -> None:
    draw = Augmenter(FULL, SIDE).draw(images())[0]
    row = packed(draw)
    for before, after in zip(draw, unpacked(row, draw), strict=True):
        assert list(before) == list(after)
        assert all(torch.equal(before[key], after[key]) for key in before)
    row.zero_()
    assert not unpacked(row, draw)[0]["src"].any()  # a view of the row, which a replay reads


def test_views_from_packed_numbers_are_the_views() -> None:
    augmenter, x = Augmenter(FULL, SIDE), images()
    draw = augmenter.draw(x)[0]
    view = augmenter.views[0]
    assert torch.equal(view.apply(x, unpacked(packed(draw), draw)), view.apply(x, draw))


def test_nothing_is_read_back_when_the_numbers_lie_on_the_device() -> None:
    """As for a recording, which cannot wait: a tensor without values stands in for a GPU."""
    augmenter, x = Augmenter(FULL, SIDE), images()
    draw = augmenter.draw(x)[0]
    view = augmenter.views[0].apply(x.to("meta"), unpacked(packed(draw).to("meta"), draw))
    assert view.shape == x.shape


def test_the_order_of_the_jitter_has_a_recording_of_its_own() -> None:
    augmenter, x = Augmenter(augmented(ColorJitter()), SIDE), images()
    draws = [augmenter.draw(x)[0] for _ in range(200)]
    orders = {tuple(draw[0]["order"].tolist()) for draw in draws}
    assert len({fixed(draw) for draw in draws}) == len(orders) > 10


def test_what_has_nothing_to_record_is_not_recorded() -> None:
    """The processor, and on a GPU the default recipe, the image as it is."""
    augmenter, bare = Augmenter(FULL, SIDE), Augmenter(Recipe(), SIDE)
    assert for_device(augmenter, torch.device("cpu")) is augmenter
    assert for_device(bare, torch.device("cuda")) is bare
    assert isinstance(for_device(augmenter, torch.device("cuda")), Recorded)


@GPU
def test_a_replay_gives_the_bits_of_a_call() -> None:
    augmenter = Augmenter(FULL, SIDE)
    recorded = Recorded(augmenter)
    for seed in range(60):  # more than there are orders, in turn with another shape
        x = images(16 if seed % 3 else 5).cuda()
        torch.manual_seed(seed)
        expected = augmenter(x)
        torch.manual_seed(seed)
        result = recorded(x)
        assert all(torch.equal(a, b) for a, b in zip(expected, result, strict=True))
        assert all(view.is_contiguous(memory_format=torch.channels_last) for view in result)
