"""Images and data sets with planted leaks, for the tests of the audit."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pretextbench.audit.duplicates import Audit
from pretextbench.data.prepared import Card, Prepared

Images = npt.NDArray[np.uint8]
SIZES = {"train": 12, "val": 5, "test": 6}


def photos(count: int, side: int = 32, seed: int = 0) -> Images:
    """Independent images with large coloured shapes and fine grey detail, as photographs have."""
    rng = np.random.default_rng(seed)

    def blocks(size: int, channels: int) -> npt.NDArray[np.float64]:
        values = rng.uniform(40, 215, (count, side // size, side // size, channels))
        return np.kron(values, np.ones((1, size, size, 1)))

    return np.mean([blocks(8, 3), blocks(4, 3), blocks(2, 1) + np.zeros(3)], 0).round().astype(np.uint8)


def parts(side: int = 32) -> dict[str, Images]:
    images = photos(sum(SIZES.values()), side)
    return dict(zip(SIZES, np.split(images, np.cumsum(list(SIZES.values()))[:-1]), strict=True))


def written(folder: Path, images: Mapping[str, Images]) -> Prepared:
    """A prepared data set of these images."""
    array, ends = np.concatenate(list(images.values())), np.cumsum([0, *map(len, images.values())]).tolist()
    splits = {split: (ends[i], ends[i + 1]) for i, split in enumerate(images)}
    red, green, blue = (float(value) / 255 for value in array.mean((0, 1, 2)))
    card = Card(
        source="folder", image_size=array.shape[1], splits=splits, mean=(red, green, blue), std=(0.5, 0.5, 0.5),
        sha256="0" * 64, refused=0, duplicates=0,
    )  # fmt: skip
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", array)
    (folder / "card.json").write_text(card.model_dump_json())
    return Prepared(folder)


def where(result: Audit) -> set[tuple[str, int, str, int, bool, bool]]:
    return {(p.split, p.row, p.other_split, p.other_row, p.exact, p.flipped) for p in result.pairs}


def jpeg(image: Images, quality: int = 60) -> Images:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as again:
        return np.asarray(again)


def brighter(image: Images) -> Images:
    return np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8)


def noisy(image: Images) -> Images:
    return np.clip(image + np.random.default_rng(9).normal(0, 4, image.shape), 0, 255).round().astype(np.uint8)


def moved(image: Images) -> Images:
    return np.roll(image, 1, 1)


def mirrored(image: Images) -> Images:
    return image[:, ::-1]


def leaky() -> dict[str, Images]:
    """Many copies, so that more than CANDIDATES are equally good."""
    images = parts()
    images["train"][:7] = images["train"][7]
    images["test"][:3] = [jpeg(images["train"][7]), noisy(images["train"][9]), mirrored(images["val"][1])]
    images["val"][4] = images["train"][10]
    return images
