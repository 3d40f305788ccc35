"""Public data sets, from tiny archives in the formats in which they really lie on a disk, and without a network."""

import hashlib
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from pretextbench.data import public_sets
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.data.source import Listing
from pretextbench.errors import UserError
from pretextbench.params import Prepare

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Network is unreachable")

    for name in ("cifar", "stl10", "imagenette"):
        monkeypatch.setattr(getattr(datasets, name), "download_and_extract_archive", fail)


def digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def cifar(kind: Any, root: Path, monkeypatch: pytest.MonkeyPatch, classes: int) -> dict[str, np.ndarray]:
    """Pickled batches as the authors wrote them: planes (n, 3072), channel by channel."""
    base, key = root / kind.base_folder, "labels" if classes == 10 else "fine_labels"
    base.mkdir(parents=True)
    planes = {}
    for attribute in ("train_list", "test_list"):
        entries = []
        for name, _ in getattr(kind, attribute):
            planes[name] = RNG.integers(0, 256, (20, 3072), np.uint8)
            labels = [i % classes for i in range(20)]
            (base / name).write_bytes(pickle.dumps({"data": planes[name], key: labels}))
            entries.append([name, digest(base / name)])
        monkeypatch.setattr(kind, attribute, entries)
    names = [f"class{i}" for i in range(classes)]
    (base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: names}))
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": digest(base / kind.meta["filename"])})
    return planes


def look(source: str, root: Path, **params: Any) -> Listing:
    return public_sets.listing(Prepare.model_validate({"source": source, "path": str(root), **params}))


def one(result: Listing, number: int) -> np.ndarray:
    (image,) = result.read([number])
    assert isinstance(image, np.ndarray), image
    return image


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = cifar(datasets.CIFAR10, tmp_path, monkeypatch, 10)
    result = look("cifar10", tmp_path)
    assert [result.splits.count(s) for s in ("train", "val", "test")] == [100, 0, 20]
    assert result.classes == [f"class{i}" for i in range(10)]
    np.testing.assert_array_equal(result.labels[:20], [i % 10 for i in range(20)])
    np.testing.assert_array_equal(one(result, 23), planes["data_batch_2"][3].reshape(3, 32, 32).transpose(1, 2, 0))
    np.testing.assert_array_equal(one(result, 101), planes["test_batch"][1].reshape(3, 32, 32).transpose(1, 2, 0))


def test_cifar10_through_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(datasets.CIFAR10, tmp_path, monkeypatch, 10)
    prepare(Prepare(source="cifar10", path=str(tmp_path), image_size=16), tmp_path / "images", tmp_path / "labels")
    data = Prepared(tmp_path / "images", tmp_path / "labels")
    assert {s: data.images(s).shape for s in data.splits} == {
        "train": (90, 16, 16, 3),
        "val": (10, 16, 16, 3),
        "test": (20, 16, 16, 3),
    }
    assert sorted(data.labels("val")) == list(range(10))


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = cifar(datasets.CIFAR100, tmp_path, monkeypatch, 100)
    result = look("cifar100", tmp_path)
    assert len(result.classes) == 100
    np.testing.assert_array_equal(one(result, 7), planes["train"][7].reshape(3, 32, 32).transpose(1, 2, 0))


def test_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "stl10_binary"
    base.mkdir()
    pixels = {}
    for part, n in (("train", 10), ("test", 10), ("unlabeled", 5)):
        pixels[part] = RNG.integers(0, 256, (n, 3, 96, 96), np.uint8)
        (base / f"{part}_X.bin").write_bytes(pixels[part].transpose(0, 1, 3, 2).tobytes())  # columns first
        (base / f"{part}_y.bin").write_bytes(np.arange(1, n + 1, dtype=np.uint8).tobytes())
    (base / "class_names.txt").write_text("\n".join(f"class{i}" for i in range(10)))
    (base / "fold_indices.txt").write_text("0 1 2")
    for attribute in ("train_list", "test_list"):
        entries = [[name, digest(base / name)] for name, _ in getattr(datasets.STL10, attribute)]
        monkeypatch.setattr(datasets.STL10, attribute, entries)
    result = look("stl10", tmp_path, image_size=96)
    assert list(result.splits) == ["train"] * 15 + ["test"] * 10
    assert result.labels.tolist() == [*range(10), *[-1] * 5, *range(10)]
    np.testing.assert_array_equal(one(result, 11), pixels["unlabeled"][1].transpose(1, 2, 0))
    np.testing.assert_array_equal(one(result, 15), pixels["test"][0].transpose(1, 2, 0))


def test_imagenette(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for i, folder in enumerate(("n01440764", "n03888257")):
            (tmp_path / "imagenette2-160" / part / folder).mkdir(parents=True)
            image = Image.new("RGB", (20, 16), (0, 100 * i, 0))
            image.save(tmp_path / "imagenette2-160" / part / folder / "a.JPEG")
    result = look("imagenette", tmp_path)
    assert result.classes == ["tench", "parachute"]
    assert list(result.splits) == ["train", "train", "test", "test"]
    assert result.labels.tolist() == [0, 1, 0, 1]
    assert abs(int(one(result, 3)[0, 0, 1]) - 100) < 4


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "stl10", "imagenette"])
def test_no_network(tmp_path: Path, source: str) -> None:
    with pytest.raises(UserError, match=rf"{source} is not in .* cannot be downloaded: .*Network is unreachable"):
        look(source, tmp_path)


def test_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(datasets.CIFAR10, tmp_path, monkeypatch, 10)
    (tmp_path / datasets.CIFAR10.base_folder / "data_batch_3").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"\(or is damaged there\) and cannot be downloaded"):
        look("cifar10", tmp_path)
