"""What people see: pictures, signs of life, and words; all in evaluation mode, changing nothing."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pretextbench.base.picture import Picture
from pretextbench.method import Batch, PretextMethod
from pretextbench.testing.bench import Method, batch, build, require

SHOWN = 8  # images in the batch


@contextmanager
def _examined(method: Method, word: str) -> Iterator[tuple[PretextMethod, Batch]]:  # type: ignore[type-arg]
    """The method in evaluation mode and a batch; afterwards its state must be what it was."""
    training = build(method)
    training.method.eval()
    views, before = batch(training, SHOWN), {k: v.clone() for k, v in training.method.state_dict().items()}
    with torch.no_grad():
        yield training.method, views
    changed = [k for k, v in training.method.state_dict().items() if not torch.equal(v, before[k])]
    require(not changed, f"{word}() changed {changed[:5]}", "Only look: the pictures are no part of the training")


def show_well_formed(method: Method) -> None:
    """`show` returns pictures with a column for each header and a caption for each cell, and changes nothing."""
    with _examined(method, "show") as (pretext, views):
        for picture in pretext.show(views):
            hint = "Return a list of pretextbench.method.Picture"
            require(isinstance(picture, Picture), f"show() returned {type(picture).__name__}", hint)
            _picture(picture)


def _picture(picture: Picture) -> None:
    shape, where = tuple(picture.images.shape), f"picture {picture.title!r}"
    fine = len(shape) == 5 and shape[2] == 3 and shape[1] == len(picture.columns)
    found = f"{where}: images {shape} under {len(picture.columns)} columns"
    require(fine, found, "Expected are images (rows, columns, 3, H, W) and a header for each column")
    in_range = bool(picture.images.isfinite().all() and -1e-3 <= picture.images.min() <= picture.images.max() <= 1.001)
    require(in_range, f"{where}: pixels outside [0, 1]", "Clamp, and undo what was normalised")
    if picture.captions:
        sizes = {len(row) for row in picture.captions}
        fine = len(picture.captions) == shape[0] and sizes == {shape[1]}
        require(fine, f"{where}: the captions are not {shape[0]} rows of {shape[1]}", "Give one to every cell, or none")


def health_well_formed(method: Method) -> None:
    """`health` returns finite numbers by name, `symptoms` words, and both change nothing."""
    with _examined(method, "health") as (pretext, views):
        health = pretext.health(views)
        hint = "Guard against constant features and empty sets; call float() on tensors"
        bad = [name for name, value in health.items() if not math.isfinite(value)]
        require(not bad, f"health() returned numbers that are not finite: {bad}", hint)
        words = pretext.symptoms(health)
        fine = isinstance(words, list) and all(isinstance(word, str) for word in words)
        require(fine, f"symptoms() returned {words!r:.80}", "Return a list of sentences, empty when all is well")
