"""Cases of formats: bits, bands and alpha of images, and files that only look like images."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.params import Prepare
from tests.data.cases import Case, attempt
from tests.data.test_pixels import SIDE, colour, grey, tiff

Put = Callable[[Path, int], object]


def formats(
    name: str, means: str, suffix: str, put: Put, *words: str, mean: float | None = 127, absent: str = ""
) -> Case:
    """Twenty images in two classes; `mean`: of all pixels, about; None: they are refused."""

    def build(root: Path) -> None:
        for i in range(20):
            (root / "in" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            put(root / "in" / "ab"[i % 2] / f"{i}{suffix}", i)

    def become(root: Path) -> str:
        card = prepare(
            Prepare(source="folder", path=str(root / "in"), image_size=SIDE, max_refused=0.5), root / "x", root / "y"
        )
        pixels = np.concatenate([Prepared(root / "x").images(split) for split in card.splits])
        return f"{len(pixels)} images, {card.refused} refused, mean {pixels.mean():.0f}. {' '.join(card.notes)}"

    def check(root: Path) -> str:
        text = attempt(lambda: become(root))
        assert text.startswith("refused: ") == (mean is None), text
        if mean is not None:
            assert abs(float(text.split("mean ")[1].split(". ")[0]) - mean) < 8, text
        assert not [word for word in words if word not in text], text
        assert not absent or absent not in text, text
        return text

    return Case(name, means, build, check)


def save(pixels: np.ndarray, path: Path, **options: object) -> None:
    Image.fromarray(pixels).save(path, **options)


def with_alpha(i: int, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([colour(i), np.broadcast_to(alpha, (SIDE, SIDE)).astype(np.uint8)])


def wide(i: int) -> np.ndarray:
    return colour(i).astype("<u2") * 257


def pipe_or_picture(path: Path, i: int) -> None:
    os.mkfifo(path) if i == 4 else path.symlink_to("/dev/zero") if i == 5 else save(colour(i), path)


BANDS, HIDDEN, DEEP = (
    "bands are left out",
    "alpha that hides nearly all",
    "Grey images of more than 8 bits hold values from",
)
CASES = [
    formats("fmt/u32", "32-bit integers", ".tif", lambda p, i: tiff(p, grey(i, "<u4")), f"{DEEP} 0 to 240"),
    formats("fmt/u12", "12 bits in 16", ".tif", lambda p, i: tiff(p, grey(i) * 17), f"{DEEP} 0 to 4,080"),
    formats(
        "fmt/i16signed", "signed", ".tif", lambda p, i: tiff(p, grey(i, "<i2") - 100, kind=2), f"{DEEP} -100 to 140"
    ),
    formats("fmt/u16", "16 bits, all used", ".png", lambda p, i: save(grey(i) * 273, p), absent=DEEP),
    formats("fmt/band2", "grey and a band", ".tif", lambda p, i: tiff(p, colour(i)[..., :2], extra=(0,)), BANDS),
    formats(
        "fmt/band4",
        "RGB and near infrared",
        ".tif",
        lambda p, i: tiff(p, np.dstack([colour(i), grey(i, "u1")]), 2, extra=(0,)),
        BANDS,
    ),
    formats(
        "fmt/band4_16",
        "the same of 16 bits",
        ".tif",
        lambda p, i: tiff(p, np.dstack([wide(i), grey(i)]), 2, extra=(0,)),
        BANDS,
    ),
    formats(
        "fmt/band4rgba",
        "the same, called alpha",
        ".tif",
        lambda p, i: tiff(p, np.dstack([colour(i), grey(i, "u1") // 2]), 2, extra=(2,)),
        HIDDEN,
    ),
    formats("fmt/rgba0", "alpha 0 everywhere", ".png", lambda p, i: save(with_alpha(i, np.zeros(1)), p), HIDDEN),
    formats("fmt/opaque", "alpha 255", ".png", lambda p, i: save(with_alpha(i, np.full(1, 255)), p), absent="alpha"),
    formats(
        "fmt/half",
        "alpha 200",
        ".png",
        lambda p, i: save(with_alpha(i, np.full(1, 200)), p),
        "alpha that is partial",
        mean=154,
    ),
    formats(
        "fmt/band13",
        "a satellite's bands",
        ".tif",
        lambda p, i: tiff(p, np.zeros((SIDE, SIDE, 13), np.uint8), extra=(0,) * 12),
        "a TIFF with 13 bands of 8-bit whole numbers, which is not read",
        mean=None,
    ),
    formats(
        "fmt/f32_rgb",
        "RGB from 0 to 1",
        ".tif",
        lambda p, i: tiff(p, (colour(i) / 255).astype("<f4"), 2, 3),
        "a TIFF with 3 bands of 32-bit floating point numbers, which is not read",
        mean=None,
    ),
    formats(
        "fmt/f32_255",
        "floats from 0 to 255",
        ".tif",
        lambda p, i: tiff(p, grey(i, "<f4"), kind=3),
        "floating point values from 0 to 2",
        "where 0 to 1 are expected",
        mean=None,
    ),
    formats(
        "fmt/rgb14in16",
        "colour of 14 bits in 16",
        ".tif",
        lambda p, i: tiff(p, wide(i) // 4, 2),
        "20 of 20 images use less than a quarter of the grey levels",
        mean=31,
    ),
    formats(
        "fmt/hot",
        "12 bits in 16, and a pixel that is always full",
        ".tif",
        lambda p, i: tiff(p, np.where(np.arange(SIDE**2).reshape(SIDE, SIDE) == i, 65535, grey(i) * 17).astype("<u2")),
        "20 of 20 images use less than a quarter of the grey levels",
        mean=9,
    ),
    formats(
        "fmt/pages",
        "a stack of pages",
        ".tif",
        lambda p, i: save(colour(i), p, save_all=True, append_images=[Image.fromarray(colour(99))]),
        "20 images have more than one page or frame",
    ),
    formats(
        "fmt/frames",
        "an animation",
        ".gif",
        lambda p, i: save(grey(i, "u1"), p, save_all=True, append_images=[Image.fromarray(grey(99, "u1"))]),
        "20 images have more than one page or frame",
        mean=120,
    ),
    formats(
        "fmt/one frame", "a GIF that stands still", ".gif", lambda p, i: save(grey(i, "u1"), p), absent="page", mean=120
    ),
    formats("fmt/rgb16tif", "16 bits per channel", ".tif", lambda p, i: tiff(p, wide(i), 2), absent="bands"),
    formats(
        "fmt/dark",
        "nearly black pictures",
        ".png",
        lambda p, i: save(colour(i) // 64, p),
        "20 of 20 images have hardly any contrast",
        mean=1.5,
    ),
    formats(
        "fmt/rgb12in16",
        "colour of 12 bits in 16",
        ".tif",
        lambda p, i: tiff(p, wide(i) // 16, 2),
        "20 of 20 images have hardly any contrast",
        mean=8,
    ),
    formats(
        "fmt/mpo",
        "of a 3D camera",
        ".jpg",
        lambda p, i: save(colour(i), p, format="MPO", save_all=True, append_images=[Image.fromarray(colour(99))]),
        absent="page",
    ),
    formats(
        "fmt/html",
        "downloads that failed",
        ".jpg",
        lambda p, i: save(colour(i), p) if i > 4 else p.write_text("<html>429</html>"),
        "5 refused",
    ),
    formats("more/links", "a pipe and a device", ".png", pipe_or_picture, "2 refused"),
]
