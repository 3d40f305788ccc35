"""Order and batches: every image once per pass, a function of the step, and the same pixels wherever they lie."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pretextbench.base.seed import Seed
from pretextbench.train.batches import Batches, Order, fits

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    """A read-only memory map of 50 images, as the prepared data set gives them."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


# --- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "batch"), [(12, 4), (10, 4), (7, 7), (11, 1), (5, 3)])
def test_every_image_once_per_pass(images: int, batch: int) -> None:
    order = Order(images, batch, Seed(0))
    stream = np.concatenate([order[step] for step in range(3 * images)])  # 3 x batch passes exactly
    for start in range(0, len(stream), images):
        assert sorted(stream[start : start + images].tolist()) == list(range(images))


def test_batches_are_full_and_span_passes() -> None:
    order = Order(10, 4, Seed(0))
    assert all(order[step].shape == (4,) for step in range(20))
    spanning = order[2]  # numbers 8, 9 of the first pass and 0, 1 of the second
    first, second = (Seed(0).numpy("order", number).permutation(10) for number in (0, 1))
    assert spanning.tolist() == [*first[8:], *second[:2]]


def test_order_is_a_function_of_the_step() -> None:
    """Random access in any order equals the sequence: what makes a resumed run exact."""
    order = Order(13, 5, Seed(3))
    sequence = [order[step].tolist() for step in range(60)]
    steps = np.random.default_rng(0).permutation(60)
    shuffled = Order(13, 5, Seed(3))
    assert all(shuffled[int(step)].tolist() == sequence[step] for step in steps)
    assert Order(13, 5, Seed(3))[57].tolist() == sequence[57]


def test_passes_and_seeds_differ() -> None:
    order = Order(100, 100, Seed(0))
    assert order[0].tolist() != order[1].tolist()
    assert order[0].tolist() != Order(100, 100, Seed(1))[0].tolist()


def test_the_batch_size_cuts_one_and_the_same_stream() -> None:
    small, large = Order(12, 2, Seed(0)), Order(12, 8, Seed(0))
    assert (
        np.concatenate([small[k] for k in range(12)]).tolist() == np.concatenate([large[k] for k in range(3)]).tolist()
    )


# --- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident", ["auto", "always", "never"])
def test_take_is_indexing(images: np.ndarray, resident: str) -> None:
    batches = Batches(images, CPU, resident)  # type: ignore[arg-type]
    index = np.array([7, 3, 49, 0, 3, 12])  # unsorted, and one twice
    taken = batches.take(index)
    assert taken.dtype == torch.uint8
    assert np.array_equal(taken.numpy(), images[index])


def test_on_the_cpu_images_stay_in_the_memory_map(images: np.ndarray) -> None:
    assert not fits(images, CPU)
    assert Batches(images, CPU, "auto").resident is None
    assert Batches(images, CPU, "never").resident is None
    assert Batches(images, CPU, "always").resident is not None


def test_what_was_taken_is_a_copy(images: np.ndarray) -> None:
    """A method that writes into its pixels must not change the data set."""
    for resident in ("always", "never"):
        batches = Batches(images, CPU, resident)  # type: ignore[arg-type]
        batches.take(np.arange(4)).zero_()
        assert np.array_equal(batches.take(np.arange(4)).numpy(), images[:4])


@pytest.mark.parametrize("resident", ["always", "never"])
@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_stream_keeps_the_order(images: np.ndarray, resident: str, steps: int) -> None:
    order = Order(50, 8, Seed(0))
    streamed = list(Batches(images, CPU, resident).stream(order[k] for k in range(steps)))  # type: ignore[arg-type]
    assert len(streamed) == steps
    for step, (index, pixels) in enumerate(streamed):
        assert index.tolist() == order[step].tolist()
        assert np.array_equal(pixels.numpy(), images[order[step]])


def test_the_next_batch_is_read_while_one_is_used(images: np.ndarray) -> None:
    batches, read = Batches(images, CPU, "never"), []
    take = batches.take

    def record(index: np.ndarray) -> torch.Tensor:
        read.append(int(index[0]))
        return take(index)

    batches.take = record  # type: ignore[method-assign]
    stream = batches.stream(np.array([k, k + 1]) for k in range(5))
    index, _ = next(stream)
    assert index[0] == 0
    next(stream)
    assert 1 in read
    assert max(read) <= 2  # one ahead, and no more: memory stays that of two batches
    stream.close()


@pytest.mark.parametrize("resident", ["always", "never"])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_early_leaves_no_thread(images: np.ndarray, resident: str, taken: int) -> None:
    before = set(threading.enumerate())

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield np.arange(8)

    stream = Batches(images, CPU, resident).stream(endless())  # type: ignore[arg-type]
    for _ in range(taken):
        next(stream)
    stream.close()
    assert set(threading.enumerate()) <= before


def test_a_failing_read_reaches_the_reader(images: np.ndarray) -> None:
    stream = Batches(images, CPU, "never").stream(iter([np.arange(4), np.array([1000]), np.arange(4)]))
    next(stream)
    with pytest.raises(IndexError, match="1000"):
        list(stream)
