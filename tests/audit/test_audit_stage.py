"""What the leak audit leaves behind: names, tables, the picture, the sentence, the stage."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pretextbench.audit import duplicates as module
from pretextbench.audit.duplicates import NEAR, Audit, Pair, audit, save, sentence
from pretextbench.errors import UserError
from pretextbench.project import layout
from stages import audit as stage
from tests.leaks import SIZES, leaky, parts, photos, written


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
    chosen = module.picture_pairs(Audit(sha256="", counts=(), pairs=tuple(pairs)))
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


def test_groups_of_several_splits_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(layout.IMAGES, parts())
    layout.LABELS.mkdir()
    np.save(layout.LABELS / "groups.npy", np.r_[np.arange(12) // 3, np.full(5, 9), [0, 0, 1, 8, 8, 8]])
    (layout.LABELS / "groups.json").write_text('["Ann", "Ben", "Cleo", "Dan"]')
    stage.main()
    leak = (
        "2 groups are in test and in train (Ann, Ben): 3 of 6 test images are of a group that train has too, which "
        "inflates the results."
    )
    assert leak in capsys.readouterr().out
    record = json.loads((layout.AUDIT / "audit.json").read_text())
    assert leak in record["said"]
    assert [(entry["split"], entry["other_split"], entry["groups"]) for entry in record["groups"]] == [
        ("test", "train", 2)
    ]


def test_without_groups_the_record_is_as_before(tmp_path: Path) -> None:
    data = written(tmp_path / "images", leaky())
    save(audit(data), data, tmp_path / "out")
    assert "groups" not in json.loads((tmp_path / "out" / "audit.json").read_text())
