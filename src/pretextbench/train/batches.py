"""Batches of the prepared array: the order of the images, and their way to the device."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pretextbench.base.seed import Seed


def send_to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array (B, ...) on the device; to a GPU from pinned memory: from other memory CUDA first waits for its work."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def seed_device(key: int, device: torch.device) -> None:
    """torch.manual_seed for the processor and one device; torch's own looks for devices of every kind, each time."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(key)


ROOM = 0.4  # share of the device's free memory that the images may take: training needs the rest


class Order:
    """An endless stream of image numbers: one shuffled pass after another, cut into batches that may span passes."""

    def __init__(self, images: int, batch: int, seed: Seed) -> None:
        self.images, self.batch, self.seed = images, batch, seed
        self._passes: dict[int, np.ndarray] = {}

    def _pass(self, number: int) -> np.ndarray:
        if number not in self._passes:
            shuffled = self.seed.numpy("order", number).permutation(self.images)
            self._passes = {k: v for k, v in self._passes.items() if k == number - 1} | {number: shuffled}
        return self._passes[number]

    def __getitem__(self, step: int) -> np.ndarray:
        """Image numbers (batch,) of a step."""
        start, stop = step * self.batch, (step + 1) * self.batch
        first, last = start // self.images, (stop - 1) // self.images
        stream = np.concatenate([self._pass(number) for number in range(first, last + 1)])
        return stream[start - first * self.images : stop - first * self.images]


def fits(images: np.ndarray, device: torch.device) -> bool:
    """True if the images fit on the device. On a CPU they need no move: the memory map is already there."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < ROOM * free


class Batches:
    """uint8 batches (B, H, W, 3) on the device for given image numbers."""

    def __init__(self, images: np.ndarray, device: torch.device, resident: Literal["auto", "always", "never"]) -> None:
        self.images, self.device = images, device
        keep = resident == "always" or (resident == "auto" and fits(images, device))
        self.resident = torch.from_numpy(np.array(images)).to(device) if keep else None

    def take(self, index: np.ndarray) -> Tensor:
        """The images of these numbers, in this order."""
        if self.resident is not None:
            return self.resident[send_to_device(index, self.device)]
        # sorted reads keep a memory map on a disk from jumping back and forth
        order = np.argsort(index, kind="stable")
        batch = np.empty((len(index), *self.images.shape[1:]), dtype=np.uint8)
        batch[order] = self.images[index[order]]
        return send_to_device(batch, self.device)

    def stream(self, indices: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(numbers, images) for each item of `indices`; when streaming, the next batch is read while one is used."""
        if self.resident is not None:
            for index in indices:
                yield index, self.take(index)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for index in indices:
                following = (index, reader.submit(self.take, index))
                if waiting is not None:
                    yield waiting[0], waiting[1].result()
                waiting = following
            if waiting is not None:
                yield waiting[0], waiting[1].result()
