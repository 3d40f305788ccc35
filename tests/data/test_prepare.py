"""The whole stage: real files in, two folders out; bytes, order, labels, reports; and nothing left of a failure."""

import csv
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pretextbench.data import prepare as module
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Card, Prepared
from pretextbench.errors import UserError
from pretextbench.params import Prepare

SMALL = {"image_size": 8, "synthetic": {"train": 20, "val": 10, "test": 10}}


def run(out: Path, **params: Any) -> tuple[Card, Prepared]:
    card = prepare(Prepare.model_validate(params), out / "images", out / "labels")
    return card, Prepared(out / "images", out / "labels")


def photos(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 10) -> Path:
    """One-coloured images whose colour is their number."""
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (12, 9), (k, i, 100)).save(root / name / f"{i}.png")
    return root


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    _, data = run(tmp_path / "out", source="folder", path=str(photos(tmp_path / "in")), image_size=8)
    seen = set()
    for split in data.splits:
        images = data.images(split)
        np.testing.assert_array_equal(images[:, 0, 0, 0], data.labels(split))
        seen |= {(int(image[0, 0, 0]), int(image[0, 0, 1])) for image in images}
    assert len(seen) == 20
    assert data.classes == ["cat", "dog"]


def test_the_card_describes_the_array(tmp_path: Path) -> None:
    card, data = run(tmp_path, **SMALL)
    train = data.images("train") / 255
    assert card.mean == pytest.approx(train.mean((0, 1, 2)))
    assert card.std == pytest.approx(train.std((0, 1, 2)))
    assert card.sha256 == hashlib.sha256((tmp_path / "images" / "images.npy").read_bytes()).hexdigest()
    assert card.splits == {"train": (0, 20), "val": (20, 30), "test": (30, 40)}
    assert json.loads((tmp_path / "images" / "card.json").read_text())["source"] == "synthetic"


def test_same_parameters_same_bytes(tmp_path: Path) -> None:
    source = photos(tmp_path / "in")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, source="folder", path=str(source), image_size=8, seed=seed)
    digests = {
        name: [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((tmp_path / name).glob("*/*"))]
        for name in "abc"
    }
    assert digests["a"] == digests["b"] != digests["c"]


def test_an_old_result_is_replaced(tmp_path: Path) -> None:
    run(tmp_path, **SMALL)
    (tmp_path / "images" / "old").touch()
    card, data = run(tmp_path, **(SMALL | {"seed": 1}))
    assert data.fingerprint == card.sha256
    assert not (tmp_path / "images" / "old").exists()


def test_refused_files_are_named(tmp_path: Path) -> None:
    source = photos(tmp_path / "in")
    (source / "cat" / "3.png").write_bytes(b"")
    (source / "dog" / "4.png").write_text("not an image")
    card, data = run(tmp_path / "out", source="folder", path=str(source), image_size=8, max_refused=0.2)
    assert card.refused == 2
    refused = dict(rows(tmp_path / "out" / "images" / "refused.csv")[1:])
    assert set(refused) == {"cat/3.png", "dog/4.png"}
    assert refused["cat/3.png"] == "empty: zero bytes"
    assert sum(len(data.images(s)) for s in data.splits) == 18
    for split in data.splits:  # the gap shifted nothing
        np.testing.assert_array_equal(data.images(split)[:, 0, 0, 0], data.labels(split))


def test_too_many_refused_files(tmp_path: Path) -> None:
    source = photos(tmp_path / "in")
    (source / "cat" / "3.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"1 of the first \d+ files cannot be read, more than .* = 0.01.*cat/3.png: empty"
    ):
        run(tmp_path / "out", source="folder", path=str(source), image_size=8)
    assert not (tmp_path / "out" / "images").exists()


def test_no_readable_image(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.png").write_text("no")
    with pytest.raises(UserError, match=r"No image of the train split can be read.*not an image in a known format"):
        run(tmp_path / "out", source="folder", path=str(tmp_path), image_size=8, max_refused=1)


def test_duplicates_are_reported_and_kept(tmp_path: Path) -> None:
    source = tmp_path / "in"
    photos(source / "train")
    photos(source / "test", each=2)  # 0.png and 1.png of either class again
    Image.new("RGB", (12, 9), (0, 0, 100)).save(source / "train" / "cat" / "copy.png")
    params = {"source": "folder", "path": str(source), "image_size": 8}
    card, data = run(tmp_path / "out", **params)
    table = rows(tmp_path / "out" / "images" / "duplicates.csv")
    assert table[0] == ["split", "file", "other_split", "other_file"]
    assert card.duplicates == len(table) - 1 >= 4
    assert {row[3] for row in table if row[2] == "test"} == {
        f"test/{c}/{i}.png" for c in ("cat", "dog") for i in (0, 1)
    }
    assert len(data.images("test")) == 4
    assert any("test images are also in train, pixel for pixel" in note for note in card.notes)


def test_no_labels(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(20):
        Image.new("L", (8, 8), i).save(source / f"{i}.png")
    _, data = run(tmp_path / "out", source="folder", path=str(source), image_size=8)
    assert (data.labels("train") == -1).all()
    assert data.classes == []


def test_max_images(tmp_path: Path) -> None:
    _, data = run(tmp_path, **SMALL, max_images=20)
    assert {s: len(data.images(s)) for s in data.splits} == {"train": 10, "val": 5, "test": 5}


def test_odd_file_names(tmp_path: Path) -> None:
    source = photos(tmp_path / "in")
    (source / "cat" / 'a,"b"\nc.png').write_bytes(b"")
    (source / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    run(tmp_path / "out", source="folder", path=str(source), image_size=8, max_refused=0.2)
    names = {row[0] for row in rows(tmp_path / "out" / "images" / "refused.csv")}
    assert names == {"file", 'cat/a,"b"\nc.png', "cat/\\udcff.png"}


def test_memory_does_not_hold_the_images(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from pretextbench.data.prepare import prepare;"
        "from pretextbench.params import Prepare; from pretextbench.data import decode;"
        "decode.CHUNK_BYTES = 4 * 2**20; out = Path(sys.argv[1]);"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "prepare(Prepare(source='folder', path=sys.argv[2], image_size=512), out / 'i', out / 'l');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before);"
        "assert not {'torch', 'torchvision'} & set(sys.modules), 'they take seconds to import'"
    )
    source = photos(tmp_path / "in", each=30)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "i" / "images.npy").stat().st_size
    assert int(done.stdout) * 1024 < 0.7 * size, f"{done.stdout} KiB for {size} bytes of images"


def test_no_space_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, **SMALL)
    before = {p: p.read_bytes() for p in tmp_path.glob("*/*")}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)  # the labels, when the images are written already
    with pytest.raises(UserError, match=r"Cannot write .*labels: no space left on the device: free some"):
        run(tmp_path, **(SMALL | {"seed": 1}))
    assert {p: p.read_bytes() for p in tmp_path.glob("*/*")} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "labels"], "nothing half-written is left"


def test_read_only_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(
        "pretextbench.base.files.os.mkdir", refuse
    )  # root, who often runs tests, may write into any folder
    with pytest.raises(UserError, match=r"Cannot write .*images: the file system is read-only"):
        run(tmp_path, **SMALL)


def test_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"a part of that path is a file"):
        run(tmp_path / "file" / "deeper", **SMALL)


def test_a_class_whose_files_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = photos(tmp_path / "in")
    (source / "owl").mkdir()
    (source / "owl" / "0.png").write_bytes(b"")
    card, _ = run(tmp_path / "out", source="folder", path=str(source), image_size=8, max_refused=0.2)
    assert "No image of 1 class(es) can be read or was drawn: owl." in card.notes
