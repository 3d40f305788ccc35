"""What docs/security.md promises of files: a planted pickle is never loaded, and archives stay in their folder."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save as safe_bytes

from pretextbench.base.files import sha256
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import IMAGES, LABELS, Prepared
from pretextbench.errors import UserError
from pretextbench.params import Params, Prepare
from pretextbench.project import layout
from pretextbench.ranking.runs import read
from pretextbench.train import encoder_folder
from pretextbench.train.checkpoint import Checkpoint
from stages import worker
from tests.train.test_encoder_folder import card, trained


class Burglar:
    """Pickles into a call that leaves a trace."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch burgled",)


@pytest.fixture(autouse=True)
def _watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody breaks in."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("burgled"))
    assert not list(tmp_path.parent.glob("evil*"))


# Every file that is read, with a pickle planted in it.


def pickles() -> dict[str, bytes]:
    """The ways in which a pickle may come."""
    boxed, old, array = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"step": Burglar()}, boxed)
    torch.save({"step": Burglar()}, old, _use_new_zipfile_serialization=False)
    np.save(array, np.array([Burglar()], object), allow_pickle=True)
    return {"bare": pickle.dumps(Burglar()), "torch": boxed.getvalue(), "old": old.getvalue(), "npy": array.getvalue()}


PICKLES = pickles()


def test_the_plants_are_alive(tmp_path: Path) -> None:
    """Or the tests below would show nothing."""
    for content in PICKLES.values():
        with io.BytesIO(content) as stream:
            load_it = np.load if content.startswith(b"\x93NUMPY") else None
            if load_it:
                load_it(stream, allow_pickle=True)
            elif content == PICKLES["bare"]:
                pickle.load(stream)
            else:
                torch.load(stream, weights_only=False)
        (tmp_path / "burgled").unlink()


@pytest.fixture(params=sorted(PICKLES))
def plant(request: pytest.FixtureRequest) -> bytes:
    """A pickle that leaves a trace when it is loaded."""
    return PICKLES[request.param]


def test_checkpoint(tmp_path: Path, plant: bytes) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.file.parent.mkdir()
    checkpoint.file.write_bytes(plant)
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read as a checkpoint.*Delete it to train anew"):
        checkpoint.load()


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4", b"\x80\2.", b"\x80\2K\1.", pickle.dumps([1], 2)])
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"(is not|cannot be read as) a checkpoint.*Delete it to train anew"):
        Checkpoint(tmp_path).load()


def test_encoder(tmp_path: Path, plant: bytes) -> None:
    """Also where the card says that it is the right file."""
    written = encoder_folder.save(trained(), card(), tmp_path)
    (tmp_path / encoder_folder.WEIGHTS).write_bytes(plant)
    with pytest.raises(UserError, match="is not the file"):
        encoder_folder.load(tmp_path)
    forged = written.model_copy(update={"weights_sha256": sha256(tmp_path / encoder_folder.WEIGHTS)})
    (tmp_path / encoder_folder.CARD).write_text(forged.model_dump_json())
    with pytest.raises(UserError, match=r"encoder\.safetensors cannot be read .*Run the pretrain stage again"):
        encoder_folder.load(tmp_path)


def test_an_encoder_of_other_shapes(tmp_path: Path) -> None:
    written = encoder_folder.save(trained(), card(), tmp_path)
    (tmp_path / encoder_folder.WEIGHTS).write_bytes(safe_bytes({"mean": torch.zeros(1)}))
    forged = written.model_copy(update={"weights_sha256": sha256(tmp_path / encoder_folder.WEIGHTS)})
    (tmp_path / encoder_folder.CARD).write_text(forged.model_dump_json())
    with pytest.raises(UserError, match=r"does not fit the encoder of encoder\.json(?s:.*)Run the pretrain stage"):
        encoder_folder.load(tmp_path)


def test_derived(tmp_path: Path, plant: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        recipe = None

    monkeypatch.setattr(worker, "contestant", lambda name: SimpleNamespace(row=name))
    monkeypatch.setattr(worker.Policy, "read", lambda path: Empty)
    folder = tmp_path / layout.augmented("simclr")
    folder.mkdir(parents=True)
    (folder / "derived.safetensors").write_bytes(plant)
    with pytest.raises(UserError, match="Run the augment stage again"):
        worker.job("simclr", 0, Params())


def test_predictions(tmp_path: Path, plant: bytes) -> None:
    (tmp_path / "simclr-0").mkdir()
    (tmp_path / "simclr-0" / "metrics.json").write_text('{"labelled": true}')
    written = card().model_dump(mode="json")
    (tmp_path / "simclr-0" / "encoder.json").write_text(json.dumps(written))
    boxed = io.BytesIO()
    with zipfile.ZipFile(boxed, "w") as stream:
        stream.writestr("test.npy", PICKLES["npy"])
    for content in (plant, boxed.getvalue()):
        (tmp_path / "simclr-0" / "predictions.npz").write_bytes(content)
        (run,) = read(tmp_path, ["simclr-0"])
        as_bytes = all(isinstance(result, bytes) for result in run.predictions.values())  # a zip of something else
        assert "predictions.npz cannot be read" in (run.missing or "") or as_bytes


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of a small prepared data set."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    small = {"train": 10, "val": 3, "test": 3}
    prepare(Prepare.model_validate({"image_size": 8, "synthetic": small}), images, labels)
    return images, labels


@pytest.mark.parametrize("file", [IMAGES, LABELS])
def test_arrays(prepared: tuple[Path, Path], plant: bytes, file: str) -> None:
    images, labels = prepared
    ((images if file == IMAGES else labels) / file).write_bytes(plant)
    with pytest.raises(UserError, match=rf"{file} is damaged(?s:.*)Run the prepare stage again"):
        Prepared(images, labels).labels("train")


def test_odd_arrays_and_names(prepared: tuple[Path, Path]) -> None:
    images, labels = prepared
    for odd in (np.array(5), np.array([1.5] * 16), np.array(["a"] * 16), np.zeros((16, 1), int)):
        np.save(labels / LABELS, odd)
        with pytest.raises(UserError, match=r"labels\.npy .*[Rr]un (the prepare stage|it) again"):
            Prepared(images, labels).labels("train")
    (labels / LABELS).write_bytes(b"\x93NUMPY\1\0\x10\0{'descr': ((((( \n")
    with pytest.raises(UserError, match=r"labels\.npy is damaged"):
        Prepared(images, labels).labels("train")
    for text in ("{", "null", "5", '"abc"', "{}", "[" * 100_000):
        (labels / "classes.json").write_text(text)
        with pytest.raises(UserError, match="is not a list of names"):
            _ = Prepared(images, labels).classes


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", fail)


@pytest.mark.usefixtures("_no_network")
def test_cifar_is_pickled_and_so_is_read_only_with_the_checksum_of_its_authors(tmp_path: Path) -> None:
    from pretextbench.data import public_sets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(PICKLES["bare"])
    with pytest.raises(UserError, match="damaged there"):
        public_sets.listing(Prepare(source="cifar10", path=str(tmp_path)))


# Archives: all extraction is torchvision's.


def evil_tar() -> bytes:
    """Members above the folder, at absolute paths, and through a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as stream:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        stream.addfile(link)
        for name in ("../evil.txt", "link/evil2.txt"):
            member = tarfile.TarInfo(name)
            member.size = 4
            stream.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


def test_torchvision_extracts_nothing_outside(tmp_path: Path) -> None:
    from torchvision.datasets.utils import extract_archive

    (tmp_path / "a.tar.gz").write_bytes(evil_tar())
    with pytest.raises(tarfile.FilterError):
        extract_archive(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as stream:
        stream.writestr("../evil.txt", "evil")
    extract_archive(str(tmp_path / "a.zip"), str(tmp_path / "out"))
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("stl10", "stl10_binary.tar.gz"),
        ("imagenette", "imagenette2-160.tgz"),
    ],
)
def test_an_archive_with_another_checksum_is_not_extracted(tmp_path: Path, source: str, file: str) -> None:
    from pretextbench.data import public_sets

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_bytes(evil_tar())
    with pytest.raises(UserError, match="damaged there"):
        public_sets.listing(Prepare.model_validate({"source": source, "path": str(tmp_path / "data")}))
    assert not (tmp_path / "evil.txt").exists()
    assert not (tmp_path / "data" / "link").is_symlink()
