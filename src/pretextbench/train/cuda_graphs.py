"""Augmentation on a GPU as recorded graphs: a view costs one launch instead of a hundred.

The operations of a view of small images take microseconds each; to launch them takes longer than to run them, and the
network waits. Here a view is recorded once as a CUDA graph and replayed on new images with new numbers: the same
kernels on the same values, bit for bit. A value that is drawn once per batch and decides which kernels run (the
order of the colour jitter's steps) has a recording for each of its values.
"""

import torch
from torch import Tensor

from pretextbench.augment.pipeline import Augmenter, Draw, ViewPipeline


def packed(draw: Draw) -> Tensor:
    """All floating-point numbers of a draw in one row, for one copy instead of ten."""
    return torch.cat([v.flatten() for numbers in draw for v in numbers.values() if v.is_floating_point()])


def unpacked(row: Tensor, draw: Draw) -> Draw:
    """The draw with its floating-point numbers taken from a row that `packed` made, without a copy."""
    floats = [v for numbers in draw for v in numbers.values() if v.is_floating_point()]
    parts = iter(row.split([v.numel() for v in floats]))
    return [
        {key: next(parts).view(v.shape) if v.is_floating_point() else v for key, v in numbers.items()}
        for numbers in draw
    ]


def fixed(draw: Draw) -> bytes:
    """The numbers of a draw that are not floating point: they are part of a recording and not of its input."""
    return b"".join(v.numpy().tobytes() for numbers in draw for v in numbers.values() if not v.is_floating_point())


class Tape:
    """The recordings of one kind of view for images of one shape; they share their memory."""

    def __init__(self, view: ViewPipeline, images: Tensor, draw: Draw) -> None:
        self.view = view
        self.images = torch.empty_like(images)
        self.numbers = torch.empty_like(packed(draw), device=images.device)
        self.out = torch.empty(0)
        self.graphs: dict[bytes, torch.cuda.CUDAGraph] = {}
        self.stream, self.pool = torch.cuda.Stream(images.device), torch.cuda.graph_pool_handle()

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Images (B, 3, H, W) and their numbers to a view (B, 3, size, size), channels last."""
        self.images.copy_(images)
        self.numbers.copy_(packed(draw).pin_memory(), non_blocking=True)  # pinned: else CUDA waits for the GPU first
        key = fixed(draw)
        if key not in self.graphs:
            self.graphs[key] = self._record(unpacked(self.numbers, draw))
        self.graphs[key].replay()
        return self.out.clone(memory_format=torch.preserve_format)

    def _record(self, draw: Draw) -> torch.cuda.CUDAGraph:
        current, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            if not self.graphs:  # constants and libraries are set up by a first run, which must not be recorded
                self.out = torch.empty_like(self.view.apply(self.images, draw), memory_format=torch.channels_last)
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")  # a reader may copy batches
            self.out.copy_(self.view.apply(self.images, draw))
            graph.capture_end()
        current.wait_stream(self.stream)
        return graph


class Recorded:
    """An augmenter for batches of a few shapes on a GPU: same draws, same views, recorded when first needed."""

    def __init__(self, augmenter: Augmenter) -> None:
        self.augmenter = augmenter
        self.tapes: dict[tuple[int, torch.Size], Tape] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Draw and apply."""
        kinds = [kind for kind, view in enumerate(self.augmenter.views) for _ in range(view.draws)]
        draws = zip(kinds, self.augmenter.draw(images), strict=True)
        return tuple(self._tape(kind, images, draw)(images, draw) for kind, draw in draws)

    def _tape(self, kind: int, images: Tensor, draw: Draw) -> Tape:
        key = (kind, images.shape)
        if key not in self.tapes:
            self.tapes[key] = Tape(self.augmenter.views[kind], images, draw)
        return self.tapes[key]


def for_device(augmenter: Augmenter, device: torch.device) -> Augmenter | Recorded:
    """CUDA graphs on a GPU, except for recipes with an identity view, which draw no numbers to record."""
    drawn = all(view.ops for view in augmenter.views)
    return Recorded(augmenter) if device.type == "cuda" and drawn else augmenter
