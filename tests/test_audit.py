"""Leaks are planted and found, by row and by name; what is not one is not reported."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pretextbench import audit as module
from pretextbench.audit import NEAR, Audit, Index, Pair, audit, descriptors, edges, save, sentence
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Card, Prepared
from pretextbench.errors import UserError
from pretextbench.params import Prepare
from stages import audit as stage
from stages import layout

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
    ones = (0.5, 0.5, 0.5)
    card = Card(
        source="folder", image_size=array.shape[1], splits=splits, mean=ones, std=ones, sha256="0" * 64,
        refused=0, duplicates=0,
    )  # fmt: skip
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", array)
    (folder / "card.json").write_text(card.model_dump_json())
    return Prepared(folder)


def where(found: Audit) -> set[tuple[str, int, str, int, bool, bool]]:
    return {(p.split, p.row, p.other_split, p.other_row, p.exact, p.flipped) for p in found.pairs}


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


@pytest.mark.parametrize(
    ("change", "side"),
    [*((change, side) for change in (jpeg, brighter, noisy, mirrored, np.copy) for side in (32, 64)), (jpeg, 224)],
)
def test_planted_leaks_are_found_in_their_rows(tmp_path: Path, change: object, side: int) -> None:
    images = parts(side)
    assert callable(change)
    images["test"][4] = change(images["train"][7])
    images["test"][1] = change(images["val"][2])
    images["val"][0] = change(images["train"][11])
    exact, flipped = change is np.copy, change is mirrored
    leaks = [("test", 4, "train", 7), ("test", 1, "val", 2), ("val", 0, "train", 11)]
    found = audit(written(tmp_path / "images", images))
    assert where(found) == {(*leak, exact, flipped) for leak in leaks}
    assert [(n.images, n.near, n.exact) for n in found.counts] == [(6, 1, exact), (6, 1, exact), (5, 1, exact)]
    assert [n.near_share for n in found.counts] == [1 / 6, 1 / 6, 1 / 5]


def test_a_shift_of_one_pixel_is_found(tmp_path: Path) -> None:
    images = parts()
    images["test"][4] = moved(images["train"][7])
    assert where(audit(written(tmp_path / "images", images))) == {("test", 4, "train", 7, False, False)}


def test_the_exact_copy_goes_before_a_near_one_and_the_first_row_before_later_ones(tmp_path: Path) -> None:
    images = parts()
    images["train"][2] = brighter(images["train"][7])
    images["train"][9] = images["train"][7]
    images["test"][3] = images["train"][7]
    assert where(audit(written(tmp_path / "images", images))) == {("test", 3, "train", 7, True, False)}


def test_independent_images_are_no_leaks(tmp_path: Path) -> None:
    images = {split: photos(200, seed=i) for i, split in enumerate(SIZES)}
    rng = np.random.default_rng(0)
    noise = {split: rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8) for split in SIZES}
    assert audit(written(tmp_path / "a", images)).pairs == ()
    assert audit(written(tmp_path / "b", noise)).pairs == ()


def test_the_synthetic_data_set_has_no_leaks(tmp_path: Path) -> None:
    params = Prepare.model_validate({"image_size": 32, "synthetic": {"train": 100, "val": 50, "test": 50}})
    prepare(params, tmp_path / "images", tmp_path / "labels")
    assert audit(Prepared(tmp_path / "images")).pairs == ()


def flat(levels: list[int], noise: int = 0) -> Images:
    images = np.broadcast_to(np.array(levels)[:, None, None, None], (len(levels), 32, 32, 3)).copy()
    return (images + np.random.default_rng(levels[0]).integers(0, noise + 1, images.shape)).astype(np.uint8)


def test_images_without_contrast_have_exact_duplicates_only(tmp_path: Path) -> None:
    images = {"train": flat([10, 20, 30]), "val": flat([40]), "test": flat([50, 20, 60])}
    assert where(audit(written(tmp_path / "a", images))) == {("test", 1, "train", 1, True, False)}
    grain = {"train": flat([10, 20], 1), "val": flat([40], 1), "test": flat([50, 60], 1)}
    assert audit(written(tmp_path / "b", grain)).pairs == ()
    shade = np.round(np.linspace(0, 8, 32))[:, None, None] + np.zeros((1, 32, 3))  # the same faint shading on all
    shaded = {s: (flat([v]) + shade).astype(np.uint8) for s, v in {"train": 90, "val": 120, "test": 150}.items()}
    assert audit(written(tmp_path / "c", shaded)).pairs == ()


def correlation(a: Images, b: Images) -> float:
    """The similarity again, in plain float64 loops over shifts: what `edges` and `agreement` do in flat arrays."""

    def steps(image: Images) -> npt.NDArray[np.float64]:
        x = image.astype(np.float64)
        e = np.concatenate([x[:-1, 1:] - x[:-1, :-1], x[1:, :-1] - x[:-1, :-1]], -1)
        e = e / (np.abs(e) + 8)
        e -= e.mean((0, 1))
        return e / max(float(np.linalg.norm(e)), 0.1 * e.size**0.5)

    p, q = steps(a), steps(b)
    best, h = -1.0, len(p)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            total = 0.0
            for y in range(max(0, -dy), min(h, h - dy)):
                for x in range(max(0, -dx), min(h, h - dx)):
                    total += float(p[y, x] @ q[y + dy, x + dx])
            best = max(best, total)
    return best


def test_similarity_equals_a_plain_computation_over_all_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEAR", -1.0)  # report every image, with its best
    monkeypatch.setattr(module, "COARSE", -1.0)
    monkeypatch.setattr(module, "CANDIDATES", 100)
    images = {split: part[:4] for split, part in parts(16).items()}
    images["test"][0], images["test"][1] = noisy(images["train"][3]), mirrored(images["train"][1])
    found = [
        p for p in audit(written(tmp_path / "images", images)).pairs if p.other_split == "train" and p.split == "test"
    ]
    assert len(found) == 4
    for pair in found:
        test = images["test"][pair.row]
        table = [[correlation(view, other) for view in (test, test[:, ::-1])] for other in images["train"]]
        assert pair.similarity == pytest.approx(np.max(table), abs=1e-4)
        assert (pair.other_row, int(pair.flipped)) == np.unravel_index(np.argmax(table), (4, 2))


def test_coarse_scores_are_exact_for_both_orientations() -> None:
    a, b = Index("a", photos(6, seed=1), None), Index("b", photos(7, seed=2), None)
    whole = [((x.even + x.odd) / 2).reshape(-1, 3, 8, 4) for x in (a, b)]  # left halves of x ...
    right = [((x.even - x.odd) / 2).reshape(-1, 3, 8, 4)[..., ::-1] for x in (a, b)]  # ... and right ones
    x, y = (np.concatenate(halves, -1).astype(np.int64) for halves in zip(whole, right, strict=True))
    straight = np.einsum("icyx,jcyx->ij", x, y)
    mirror = np.einsum("icyx,jcyx->ij", x[..., ::-1], y)
    scores = np.abs(a.odd @ b.odd.T) + a.even @ b.even.T
    assert np.array_equal(scores, 2 * np.maximum(straight, mirror))


def test_coarse_descriptors_know_neither_brightness_nor_tint() -> None:
    images = photos(6)
    for one, other in zip(descriptors(images), descriptors(images + np.array([5, 15, 30], np.uint8)), strict=True):
        np.testing.assert_allclose(one, other, atol=2)  # each half rounds to whole numbers


def test_large_images_are_compared_by_their_averages() -> None:
    images = photos(3)
    large = images.repeat(3, 1).repeat(3, 2)
    np.testing.assert_allclose(edges(large), edges(images), atol=1e-6)


def leaky() -> dict[str, Images]:
    """Many copies, so that more than CANDIDATES are equally good."""
    images = parts()
    images["train"][:7] = images["train"][7]
    images["test"][:3] = [jpeg(images["train"][7]), noisy(images["train"][9]), mirrored(images["val"][1])]
    images["val"][4] = images["train"][10]
    return images


def test_chunks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "images", leaky())
    whole = audit(data)
    assert len(whole.pairs) == 4
    assert next(p for p in whole.pairs if p.row == 0 and p.split == "test").other_row == 0  # the first of equals
    for scores, values, batch in ((1, 1, 1), (30, 7000, 2), (5, 10_000, 3)):
        monkeypatch.setattr(module, "SCORES", scores)
        monkeypatch.setattr(module, "VALUES", values)
        monkeypatch.setattr(module, "BATCH", batch)
        assert audit(data) == whole


def test_splits_of_one_image(tmp_path: Path) -> None:
    image = photos(1)
    same = audit(written(tmp_path / "a", {"train": image, "val": photos(1, seed=1), "test": jpeg(image[0])[None]}))
    assert where(same) == {("test", 0, "train", 0, False, False)}
    assert audit(written(tmp_path / "b", {s: photos(1, seed=i) for i, s in enumerate(SIZES)})).pairs == ()


def test_names_follow_the_rows(tmp_path: Path) -> None:
    data = written(tmp_path / "images", leaky())
    names = [f"{split}/{row}.png" for split, count in SIZES.items() for row in range(count)]
    for pair in audit(data, names).pairs:
        assert pair.file == f"{pair.split}/{pair.row}.png"
        assert pair.other_file == f"{pair.other_split}/{pair.other_row}.png"
    assert {pair.file for pair in audit(data).pairs} == {None}
    with pytest.raises(UserError, match="22 file names for 23 images"):
        audit(data, names[1:])


def test_the_folder_is_whole_sorted_and_the_same_twice(tmp_path: Path) -> None:
    data = written(tmp_path / "images", leaky())
    for name in ("a", "b"):
        save(audit(data), data, tmp_path / name)
    files = ["audit.json", "pairs.csv", "pairs.png"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    record = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert (record["near"], record["counts"][0]["near"]) == (NEAR, 2)
    with (tmp_path / "a" / "pairs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["exact"] for row in rows] == ["True", "False", "False", "False"]
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)


def test_no_picture_without_a_pair_of_test_and_train(tmp_path: Path) -> None:
    images = parts()
    images["val"][0] = images["train"][0]
    data = written(tmp_path / "images", images)
    save(audit(data), data, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["audit.json", "pairs.csv"]


def pair(row: int, similarity: float, exact: bool = False) -> Pair:
    return Pair(
        split="test", row=row, other_split="train", other_row=39 - row, similarity=similarity, exact=exact,
        flipped=False, file=None, other_file=None,
    )  # fmt: skip


@pytest.mark.parametrize(("near", "exact", "shown"), [(40, 5, 16), (3, 30, 16), (0, 2, 2), (5, 0, 5)])
def test_the_picture_prefers_near_pairs_and_shows_the_whole_range(
    tmp_path: Path, near: int, exact: int, shown: int
) -> None:
    pairs = [pair(i, 1.0, True) for i in range(exact)] + [pair(i, 0.9 - i / 100) for i in range(near)]
    chosen = module.chosen(Audit(sha256="", counts=(), pairs=tuple(pairs)))
    assert len(chosen) == shown
    assert sum(not p.exact for p in chosen) == min(near, 16)
    if near:
        assert {chosen[0].similarity, chosen[min(near, 16) - 1].similarity} == {0.9, 0.9 - (near - 1) / 100}
    images = {split: photos(40, seed=i) for i, split in enumerate(SIZES)}
    drawn = module.picture(chosen, written(tmp_path / "images", images))
    cells = drawn.images.flatten(0, 1).permute(0, 2, 3, 1).numpy() * 255
    for i, p in enumerate(chosen):
        np.testing.assert_allclose(cells[2 * i], images["test"][p.row], atol=1e-3)
        np.testing.assert_allclose(cells[2 * i + 1], images["train"][p.other_row], atol=1e-3)
    assert len(cells) - 2 * shown == sum(row.count("") for row in drawn.captions)  # white ones fill the last row


def test_the_sentence_says_how_many_or_by_what_measure_none(tmp_path: Path) -> None:
    some = sentence(audit(written(tmp_path / "a", leaky())))
    assert some.startswith(
        "33.3 % of the test images (2 of 6) have a near duplicate in train, 0 of them pixel for pixel"
    )
    assert "20.0 % of the val images (1 of 5) have a near duplicate in train, 1 of them pixel for pixel" in some
    none = sentence(audit(written(tmp_path / "b", parts())))
    assert none.startswith("No image of test or val has an exact or near duplicate")
    assert "0.5" in none


def test_the_stage_names_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(layout.IMAGES, leaky())
    stage.main()
    assert "33.3 % of the test images" in capsys.readouterr().out
    layout.LABELS.mkdir()
    (layout.LABELS / "files.txt").write_text("".join(f"photo {i}.png\n" for i in range(23)))
    stage.main()
    table = (layout.AUDIT / "pairs.csv").read_text()
    assert "photo 21.png" not in table  # test row 4, not a leak
    assert "photo 18.png" in table  # test row 1
