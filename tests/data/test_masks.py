"""Masks as labels: which file is whose, what the pixels mean, the same cut as the image, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pretextbench.data import label_source
from pretextbench.data.decode import decode
from pretextbench.data.image_labels import ImageLabels
from pretextbench.errors import UserError
from pretextbench.params import Prepare

NAMES = [f"{i}.png" for i in range(4)]
Pixels = npt.NDArray[np.uint8]


def blocks(i: int, values: tuple[int, ...] = (0, 1)) -> Pixels:
    """(24, 48): columns of 12 with the values in turn, another first one for each i."""
    columns = np.array([values[(i + k) % len(values)] for k in range(4)], np.uint8)
    return np.repeat(columns, 12)[None].repeat(24, 0)


def folders(place: Path, mask: Callable[[int], Image.Image], name: str = "{}.png") -> tuple[Path, Path]:
    """Four images, each as its mask looks, and their masks."""
    (place / "images").mkdir()
    (place / "masks").mkdir()
    for i in range(4):
        made = mask(i)
        Image.fromarray(np.asarray(made.convert("L")) * 100).convert("RGB").save(place / "images" / f"{i}.png")
        made.save(place / "masks" / name.format(i))
    return place / "images", place / "masks"


def read(images: Path, masks: Path | str, **params: Any) -> ImageLabels:
    given = {"source": "folder", "path": str(images), "labels": str(masks), **params}
    return label_source.read(Prepare.model_validate(given), NAMES)


def written(found: ImageLabels, place: Path, fit: Any = "crop", side: int = 24) -> Pixels:
    assert found.write
    found.write(place / "targets.npy", range(4), side, fit)
    return np.asarray(np.load(place / "targets.npy"))


def grey(i: int) -> Image.Image:
    return Image.fromarray(blocks(i))


def palette(i: int) -> Image.Image:
    image = Image.fromarray(blocks(i)).convert("P")
    image.putdata(blocks(i).reshape(-1).tolist())
    image.putpalette([0, 0, 0, 200, 30, 30])
    return image


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("mask", [grey, palette])
def test_a_mask_is_cut_as_its_image(tmp_path: Path, mask: Callable[[int], Image.Image], fit: Any) -> None:
    images, masks = folders(tmp_path, grey)
    for i in range(4):
        mask(i).save(masks / f"{i}.png")
    found = read(images, masks)
    assert (found.task, found.names) == ("mask", ["0", "1"])
    result = written(found, tmp_path, fit)
    for i in range(4):
        pixels = decode(images / f"{i}.png", 24, fit)
        assert not isinstance(pixels, str)
        padded = result[i] == 255
        assert padded.any() == (fit == "pad")
        inside = ~padded
        inside[:, 1:-1] &= (np.diff(result[i].astype(int), axis=1)[:, 1:] == 0) & (
            np.diff(result[i].astype(int), axis=1)[:, :-1] == 0
        )  # Lanczos is soft at an edge
        assert ((pixels[..., 0] > 50) == (result[i] == 1))[inside].all()


@pytest.mark.parametrize("name", ["{}_mask.png", "seg-{}.png", "m_{}_v2.png"])
def test_what_stands_around_the_name_of_the_image_is_found(tmp_path: Path, name: str) -> None:
    images, masks = folders(tmp_path, grey, name)
    found = read(images, masks)
    assert found.known().all()
    assert name.format("{stem}").removesuffix(".png") in found.notes[0]
    assert read(images, str(masks / name.format("{stem}"))).known().all()


def test_white_masks_and_their_names(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, lambda i: Image.fromarray(blocks(i, (0, 255))))
    assert read(images, masks).names == ["0", "255"]
    (tmp_path / "classes.txt").write_text("background\ncell\n")
    found = read(images, masks)
    assert found.names == ["background", "cell"]
    assert set(np.unique(written(found, tmp_path))) == {0, 1}


def test_255_is_unknown_where_there_are_other_values(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, lambda i: Image.fromarray(blocks(i, (0, 7, 255))))
    found = read(images, masks)
    assert found.names == ["0", "7"]
    assert set(np.unique(written(found, tmp_path))) == {0, 1, 255}
    assert "Pixels of value 255 are unknown: they are not measured." in found.notes


def test_colours_with_names(tmp_path: Path) -> None:
    def coloured(i: int) -> Image.Image:
        return Image.fromarray(np.array([[0, 0, 0], [200, 10, 10]], np.uint8)[blocks(i)])

    images, masks = folders(tmp_path, coloured)
    assert read(images, masks).names == ["0", "#c80a0a"]
    (masks / "labelmap.txt").write_text("# label:rgb:parts\nback:0,0,0::\nred:200,10,10::\nblue:0,0,9::\n")
    found = read(images, masks)
    assert found.names == ["back", "red", "blue"]
    assert (written(found, tmp_path)[0] == blocks(0)[:, 12:36]).all()


def test_masks_turn_with_their_image(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.repeat(np.repeat(np.array([[1, 0], [1, 1]], np.uint8), 24, 0), 12, 1)  # (48, 24)
    Image.fromarray(stored * 200).save(images / "0.png", exif=exif)
    for mask in (stored, np.rot90(stored, -1)):  # as it is stored, or as it is shown
        Image.fromarray(np.ascontiguousarray(mask)).save(masks / "0.png")
        result = written(read(images, masks), tmp_path, "squash")
        assert (result[0] == np.array(Image.fromarray(np.rot90(stored, -1)).resize((24, 24), 0))).all()


def test_a_mask_of_another_size_leaves_a_gap_or_stops(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, grey)
    Image.fromarray(blocks(0)[:, :40]).save(masks / "0.png")
    with pytest.raises(UserError, match=r"1 of 4 masks .*0: 40 x 24 pixels, and its image has 48 x 24"):
        read(images, masks)
    found = read(images, masks, max_refused=0.3)
    assert found.known().tolist() == [False, True, True, True]
    assert (written(found, tmp_path)[0] == 255).all()
    assert any("1 masks are not used, and their images have no label" in note for note in found.notes)


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (
            (0, 1, 2),
            "back\ncell\n",
            r"hold the values 2 \(in 4 masks\), which classes.txt does not name. A",
        ),
        ((3, 3), "", r"every pixel of the masks is 3: nothing to learn"),
        (tuple(range(70)), "", None),
    ],
)
def test_values_that_mean_nothing(tmp_path: Path, values: tuple[int, ...], names: str, message: str | None) -> None:
    soft = message is None
    images, masks = folders(tmp_path, lambda i: Image.fromarray(
        np.arange(48, dtype=np.uint8)[None].repeat(24, 0) + 40 * i if soft else blocks(i, values)))  # fmt: skip
    if names:
        (masks / "classes.txt").write_text(names)
    with pytest.raises(UserError, match=message or r"hold 168 different values, at most 64 .*JPEG"):
        read(images, masks)


def test_masks_of_other_images(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, grey, "x{}y.png")
    for i, name in enumerate(["a", "b", "c", "d"]):
        (masks / f"x{i}y.png").rename(masks / f"{name}.png")
    with pytest.raises(UserError, match=r"0 of 4 images have a mask .* found: a.png, b.png, .* Give a pattern"):
        read(images, masks)
    with pytest.raises(UserError, match=r"no image has a mask at"):
        read(images, f"{masks}/{{stem}}_m.png")
    with pytest.raises(UserError, match=r"prepare.task is number, and .* holds masks"):
        read(images, masks, task="number")
