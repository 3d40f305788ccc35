"""Generation of the evaluation views: once, the same for every method, with the same bytes every time.

Always on the CPU and in one thread: sums keep their order, whatever else the machine has. Another kind of processor may
round a pixel to the next of the 256 levels. A thousand images of 32 px take seconds.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import kornia
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.picture import Picture, draw
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared, spread
from pretextbench.params import Augment
from pretextbench.recipe import ColorJitter, HorizontalFlip, RandomResizedCrop, augmented
from pretextbench.views.corrupt import CORRUPTIONS, NAMES, SEVERITIES, corrupt, draw_noise
from pretextbench.views.frozen import CARD, CORRUPTED, PAIRS, SHEET, Card, Pixels

Rows = npt.NDArray[np.int64]

AREA = 2**18  # pixels in a chunk of images, 256 of 32 px: memory does not grow with their number or their size
SHEET_PAIRS = 4
# Mild: the object stays recognisable, so features should agree. It is no method's own recipe, and the colour always
# changes, so that no pair is the same image twice.
PAIR_RECIPE = augmented(
    RandomResizedCrop(scale=(0.5, 1.0)),
    HorizontalFlip(),
    ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05, p=1.0),
)


@torch.no_grad()
def make_views(data: Prepared, params: Augment, folder: Path) -> None:
    """Write the views of at most `params.view_images` test images, and of as many validation images, to a folder.

    The images are evenly spread over their splits.

    Raises:
        UserError: the folder cannot be written; an existing one is then left as it was.
    """
    card = describe(data, params)
    shapes, seed = card.shapes(), Seed(params.seed)
    with whole_folder(folder) as out, one_thread():
        write_array(
            out / CORRUPTED, shapes[CORRUPTED], corrupted_chunks(data.images("test"), np.array(card.rows), seed)
        )
        write_array(out / PAIRS, shapes[PAIRS], pair_chunks(data.images("val"), np.array(card.pair_rows), seed))
        write_whole(out / CARD, (card.model_dump_json(indent=2) + "\n").encode())
        sheet(data, card, out)


def describe(data: Prepared, params: Augment) -> Card:
    """The card of the views that `make_views` will write."""
    return Card(
        data_sha256=data.fingerprint,
        image_size=data.image_size,
        seed=params.seed,
        rows=tuple(spread(len(data.images("test")), params.view_images)),
        names=NAMES,
        severities=SEVERITIES,
        strengths=CORRUPTIONS,
        pair_rows=tuple(spread(len(data.images("val")), params.view_images)),
        pair_recipe=PAIR_RECIPE.model_dump(mode="json"),
        versions={"kornia": kornia.__version__, "torch": torch.__version__},
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch in one thread, and restore the number of threads afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chunks(images: Pixels, rows: Rows) -> Iterator[tuple[Rows, Tensor]]:
    """Rows (b,) and their images (b, 3, H, W) in [0, 1], in chunks of about `AREA` pixels."""
    step = max(1, AREA // images.shape[1] ** 2)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield part, as_float(torch.from_numpy(images[part]))


def as_pixels(images: Tensor) -> Pixels:
    """(B, 3, H, W) in [0, 1] to uint8 (B, H, W, 3): the inverse of `as_float`."""
    pixels: Pixels = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def corrupted_chunks(images: Pixels, rows: Rows, seed: Seed) -> Iterator[Pixels]:
    """Chunks (b, H, W, 3) of the corrupted images, in the order of the array: corruption, severity, row."""
    for name in NAMES:
        for severity in SEVERITIES:
            for part, clean in chunks(images, rows):
                noise = draw_noise(seed, part, images.shape[1]) if name == "noise" else None
                yield as_pixels(corrupt(clean, name, severity, noise))


def pair_chunks(images: Pixels, rows: Rows, seed: Seed) -> Iterator[Pixels]:
    """Chunks (b, H, W, 3) of the augmented images, in the order of the array: first or second view, row."""
    augmenter = Augmenter(PAIR_RECIPE, images.shape[1])
    for view in range(2):
        for part, clean in chunks(images, rows):
            with torch.random.fork_rng(devices=[]):  # the caller's draws stay what they were
                torch.default_generator.manual_seed(seed.key("pairs", view, int(part[0])))
                (views,) = augmenter(clean)
            yield as_pixels(views)


def write_array(path: Path, shape: tuple[int, ...], content: Iterable[Pixels]) -> None:
    """Write a uint8 .npy from its chunks, in order.

    Not through a memory map: writing into one on a full disk kills the process, where a stream raises an error.
    """
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for chunk in content:
            stream.write(chunk.tobytes())


def sheet(data: Prepared, card: Card, out: Path) -> None:
    """Write a PNG for people: for every corruption one image, clean and at each severity; then some of the pairs."""
    corrupted, pairs = (np.load(out / name, mmap_mode="r") for name in (CORRUPTED, PAIRS))
    tests, vals = data.images("test"), data.images("val")
    chosen = np.linspace(0, len(card.rows) - 1, len(card.names)).astype(int)  # a different image for each corruption
    by_name = [np.stack([tests[card.rows[i]], *corrupted[c, :, i]]) for c, i in enumerate(chosen)]
    captions = tuple((name, *(f"{amount:g}" for amount in card.strengths[name])) for name in card.names)
    columns = ("clean", *(f"severity {severity}" for severity in card.severities))
    by_pair = [np.stack([vals[card.pair_rows[i]], *pairs[:, i]]) for i in spread(len(card.pair_rows), SHEET_PAIRS)]
    pictures = [
        Picture("corrupted test images", columns, cells(by_name), captions),
        Picture("pairs of validation images", ("clean", "first", "second"), cells(by_pair)),
    ]
    draw(pictures, out / SHEET)


def cells(rows: list[Pixels]) -> Tensor:
    """Rows of images, each (columns, H, W, 3), to (rows, columns, 3, H, W) in [0, 1]."""
    return torch.stack([as_float(torch.from_numpy(row)) for row in rows])
