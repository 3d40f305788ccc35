"""Leaks are planted and found, by row and by name; what is not one is not reported."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pretextbench.audit import duplicates, similarity
from pretextbench.audit.duplicates import audit
from pretextbench.audit.similarity import Index, descriptors, edges
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.params import Prepare
from tests.leaks import SIZES, Images, brighter, jpeg, leaky, mirrored, moved, noisy, parts, photos, where, written


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
    result = audit(written(tmp_path / "images", images))
    assert where(result) == {(*leak, exact, flipped) for leak in leaks}
    assert [(n.images, n.near, n.exact) for n in result.counts] == [(6, 1, exact), (6, 1, exact), (5, 1, exact)]
    assert [n.near_share for n in result.counts] == [1 / 6, 1 / 6, 1 / 5]


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
    monkeypatch.setattr(duplicates, "NEAR", -1.0)  # report every image, with its best
    monkeypatch.setattr(similarity, "COARSE", -1.0)
    monkeypatch.setattr(similarity, "CANDIDATES", 100)
    images = {split: part[:4] for split, part in parts(16).items()}
    images["test"][0], images["test"][1] = noisy(images["train"][3]), mirrored(images["train"][1])
    result = [
        p for p in audit(written(tmp_path / "images", images)).pairs if p.other_split == "train" and p.split == "test"
    ]
    assert len(result) == 4
    for pair in result:
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


def test_chunks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "images", leaky())
    whole = audit(data)
    assert len(whole.pairs) == 4
    assert next(p for p in whole.pairs if p.row == 0 and p.split == "test").other_row == 0  # the first of equals
    for scores, values, batch in ((1, 1, 1), (30, 7000, 2), (5, 10_000, 3)):
        monkeypatch.setattr(similarity, "SCORES", scores)
        monkeypatch.setattr(similarity, "VALUES", values)
        monkeypatch.setattr(similarity, "BATCH", batch)
        assert audit(data) == whole


def test_splits_of_one_image(tmp_path: Path) -> None:
    image = photos(1)
    same = audit(written(tmp_path / "a", {"train": image, "val": photos(1, seed=1), "test": jpeg(image[0])[None]}))
    assert where(same) == {("test", 0, "train", 0, False, False)}
    assert audit(written(tmp_path / "b", {s: photos(1, seed=i) for i, s in enumerate(SIZES)})).pairs == ()
