"""Features of anyone's images: what the encoder says of each, whatever the batch; what is broken is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pretextbench.augment.pipeline import as_float
from pretextbench.embedding.extract import Embedder, Task, device, gather
from pretextbench.errors import UserError
from pretextbench.evaluate.features import extract
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from tests import encoder_files
from tests.embedding.test_gather import paint

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images, two of them broken."""
    for i in range(7):
        paint(tmp_path / "images" / f"{i}.png", (i * 30, 255 - i * 30, 40))
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    (tmp_path / "images" / "5.png").write_bytes(b"")
    return tmp_path / "images"


def pixels(count: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_last_is_what_forward_gives() -> None:
    encoder, images = encoder_files.network(EncoderParams(width=4), 16), pixels(5)
    with torch.no_grad():
        expected = encoder(as_float(torch.from_numpy(images)))
    torch.testing.assert_close(Embedder(encoder, CPU)(images), expected, rtol=1e-5, atol=1e-5)


def test_a_stage_is_pooled_as_the_evaluation_pools_it() -> None:
    encoder, images = encoder_files.network(EncoderParams(width=4), 16), pixels(5)
    for stage, expected in extract(encoder, images, CPU).items():
        torch.testing.assert_close(Embedder(encoder, CPU, stage)(images), expected, rtol=1e-5, atol=1e-5)


def test_the_batch_changes_nothing() -> None:
    embed, images = Embedder(encoder_files.network(EncoderParams(), 32), CPU), pixels(65, 32)
    whole = embed(images)
    for size in (1, 7, 64):
        parts = torch.cat([embed(images[i : i + size]) for i in range(0, 65, size)])
        assert float((parts - whole).abs().max() / whole.abs().max()) < 1e-5


def test_the_encoder_keeps_its_mode_and_its_statistics() -> None:
    encoder = encoder_files.network(EncoderParams(width=4), 16).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    Embedder(encoder, CPU)(pixels(3))
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_bf16_is_near() -> None:
    encoder, images = encoder_files.network(EncoderParams(), 32), pixels(8, 32)
    exact, half = Embedder(encoder, CPU)(images), Embedder(encoder, CPU, precision="bf16")(images)
    assert half.dtype == torch.float32
    assert 0 < float((exact - half).abs().max() / exact.abs().max()) < 0.05


@pytest.mark.parametrize("size", [1, 2, 100])
def test_what_cannot_be_read_is_named_and_the_rest_keeps_its_order(folder: Path, size: int) -> None:
    embed, task = Embedder(encoder_files.network(EncoderParams(width=4), 16), CPU), Task(gather(folder), 16)
    result = list(task.batches(embed, size))
    names = [name for batch in result for name in batch.names]
    assert names == ["0.png", "1.png", "3.png", "4.png", "6.png"]
    assert dict(task.refused)["5.png"] == "empty: zero bytes"
    assert [name for name, _ in task.refused] == ["2.png", "5.png"]
    assert task.done == 5
    alone = torch.cat([next(Task(gather(folder / name), 16).batches(embed, 1)).features for name in names])
    torch.testing.assert_close(torch.cat([batch.features for batch in result]), alone, rtol=1e-5, atol=1e-5)


def test_folders_that_cannot_be_listed_are_refused_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album = gather(folder)
    object.__setattr__(album, "refused", [("closed", "the folder cannot be listed: Permission denied")])
    task = Task(album, 16)
    list(task.batches(Embedder(encoder_files.network(EncoderParams(width=4), 16), CPU), 4))
    assert task.refused[0][0] == "closed"
    assert len(task.refused) == 3


def test_all_refused_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    embed = Embedder(encoder_files.network(EncoderParams(width=4), 16), CPU)
    with pytest.raises(UserError, match=r"None of the 1 images can be read\. The first: a\.png: empty"):
        list(Task(gather(tmp_path), 16).batches(embed, 4))


def test_features_that_are_no_numbers_are_told(folder: Path) -> None:
    encoder = encoder_files.network(EncoderParams(width=4), 16)
    with torch.no_grad():
        encoder.conv1.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match=r"The features of 0\.png .* are not finite"):
        list(Task(gather(folder), 16).batches(Embedder(encoder, CPU), 4))


def test_unknown_layers_and_devices_name_the_known_ones(tmp_path: Path) -> None:
    encoder, _ = encoder_folder.load(encoder_files.write(tmp_path))
    with pytest.raises(UserError, match=r"no layer 'layer5'\. Did you mean 'layer4'\? Allowed: last, layer1"):
        Embedder(encoder, CPU, "layer5")
    for term in ("tpu9", "meta", "cuda:99", ""):
        with pytest.raises(UserError, match=r"--device: .* cannot be used here \(.*\)\. Allowed"):
            device(term)
    assert device("cpu") == CPU
