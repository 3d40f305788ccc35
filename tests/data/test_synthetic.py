"""The drawn data set: what an image depends on, balance, every size, and that there is a problem to learn in it."""

import numpy as np
import pytest

from pretextbench.base.seed import Seed
from pretextbench.data.objects import OBJECTS
from pretextbench.data.synthetic import CLASSES, classes, draw, listing
from pretextbench.params import Prepare, Synthetic


def some(side: int = 16, count: int = 30, split: str = "train", seed: int = 0) -> np.ndarray:
    keys = [(split, i) for i in range(count)]
    return draw(Seed(seed), side, keys, classes(Seed(seed), split, count))


def test_an_image_does_not_depend_on_how_many_are_drawn_nor_in_which_order() -> None:
    few, many = (Prepare(image_size=16, synthetic=Synthetic(train=n, val=5, test=5)) for n in (20, 40))
    a, b = listing(few), listing(many)
    np.testing.assert_array_equal(list(a.read(range(20))), list(b.read(range(20))))
    np.testing.assert_array_equal(list(a.read([7, 3])), [list(a.read(range(20)))[i] for i in (7, 3)])
    np.testing.assert_array_equal(list(a.read([25])), list(b.read([45])))  # the first test image of either
    np.testing.assert_array_equal(a.labels[25:], b.labels[45:])


def test_seed_and_split_change_every_image() -> None:
    base = some()
    for other in (some(seed=1), some(split="test")):
        assert (base != other).any((1, 2, 3)).all()


def test_the_pixels_of_a_seed() -> None:
    """Changing the drawing changes every result: do it knowingly. Rounding may differ a little between machines."""
    expected = [88.8, 163.5, 84.3, 104.1, 103.0, 168.2, 148.4, 130.1, 150.4, 89.5]
    assert some(count=10).mean((1, 2, 3)) == pytest.approx(expected, abs=0.3)


def test_every_ten_neighbours_show_each_class_once() -> None:
    labels = classes(Seed(3), "train", 1000)
    assert (np.sort(labels.reshape(100, 10), 1) == np.arange(10)).all()
    assert len({tuple(block) for block in labels.reshape(100, 10)}) > 90, "the order tells nothing"


@pytest.mark.parametrize("side", [8, 9, 33, 100, 256])
def test_any_size(side: int) -> None:
    images = some(side, 10)
    assert images.shape == (10, side, side, 3)
    assert (images.std((1, 2, 3)) > 8).all(), "no empty scene"


def test_a_larger_image_shows_the_same_scene() -> None:
    small, large = some(16), some(64)
    shrunk = large.reshape(30, 16, 4, 16, 4, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 8  # of 255: noise and soft edges


def test_images_are_in_colour_and_in_range() -> None:
    images = some(32, 200).astype(int)
    assert np.abs(images[..., 0] - images[..., 2]).mean() > 20
    assert 90 < images.mean() < 165
    assert ((images == 0) | (images == 255)).mean() < 0.1


def test_there_are_ten_classes_with_names() -> None:
    assert list(OBJECTS) == CLASSES == sorted(CLASSES)
    assert len(CLASSES) == 10
    assert all(thing.__doc__ for thing in OBJECTS.values())


def neighbour_accuracy(train: int, test: int, turn: bool) -> float:
    """Accuracy of the nearest neighbour in pixels; `turn` asks for up or upside down in place of the class."""
    params = Prepare(image_size=16, synthetic=Synthetic(train=train, val=1, test=test))
    result = listing(params)
    images, labels = np.stack(list(result.read(range(len(result.names))))).astype(np.float32), result.labels
    if turn:
        labels = np.arange(len(labels)) % 2
        images[labels == 1] = images[labels == 1, ::-1]
    flat = images.reshape(len(images), -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    nearest = (flat[train + 1 :] @ flat[:train].T).argmax(1)
    return float((labels[nearest] == labels[train + 1 :]).mean())


def test_pixels_help_a_little_and_do_not_solve_it() -> None:
    assert 0.15 < neighbour_accuracy(1500, 300, turn=False) < 0.5


def test_scenes_have_an_up() -> None:
    assert neighbour_accuracy(600, 200, turn=True) > 0.8
