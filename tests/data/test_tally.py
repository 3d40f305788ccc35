"""Channel statistics against NumPy on the whole array; duplicates against pairs planted by hand."""

import numpy as np
import pytest

from pretextbench.data.array_writer import Duplicates, Moments, Row
from pretextbench.data.source import Listing


def test_moments_equal_those_of_the_whole_array() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    images[..., 2] //= 3
    moments = Moments()
    for image in images:
        moments.add(image)
    assert moments.mean() == pytest.approx((images / 255).mean((0, 1, 2)), rel=1e-12)
    assert moments.std() == pytest.approx((images / 255).std((0, 1, 2)), rel=1e-9)


def test_one_colour_can_still_be_normalised() -> None:
    moments = Moments()
    moments.add(np.full((4, 4, 3), 200, np.uint8))
    assert moments.std() == (1 / 255, 1 / 255, 1 / 255)


def test_duplicates_across_and_within() -> None:
    a, b = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)
    result, listing = Duplicates(), Listing("12345", [], np.zeros(5, np.int64), [], lambda _: iter(()))
    places = zip(("train", "train", "train", "val", "test"), (a, a, b, b, b), strict=True)
    firsts = [result.add(image, Row(split, row, row), listing) for row, (split, image) in enumerate(places)]
    assert [first and first.number for first in firsts] == [None, 0, None, 2, 2]
    assert result.within == 1
    assert result.pairs == [("train", "3", "val", "4"), ("train", "3", "test", "5"), ("val", "4", "test", "5")]
