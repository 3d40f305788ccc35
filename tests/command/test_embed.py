"""`embed`, `neighbours` and `export` as typed: what they write and print, and one message for each mistake."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.embedding import feature_file
from tests.command.conftest import Type
from tests.embedding.test_gather import paint

# What they do.


@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_embed_writes_a_row_per_readable_image_and_names_the_others(trained: Path, typed: Type, suffix: str) -> None:
    result = typed("embed", "best", "photos", "-o", f"out/f{suffix}", "--batch-size", 2)
    assert (result.code, result.error) == (0, "")
    assert "random-0, layer2 (the ranked one), 32 features, 4 images" in result.out  # random: see `trained`
    assert "2 refused, named in out/f.refused.csv. The first: 4.png: empty: zero bytes; 5.png" in result.out
    kept = feature_file.read(Path(f"out/f{suffix}"))
    assert kept.names == [f"{i}.png" for i in range(4)]
    assert (kept.about["layer"], kept.about["layer_choice"]) == ("layer2", "the ranked one")
    with Path("out/f.refused.csv").open() as stream:
        assert [row[0] for row in csv.reader(stream)] == ["file", "4.png", "5.png"]
    typed("embed", "simclr", "photos", "-o", f"h{suffix}", "--layer", "last")
    last = feature_file.read(Path(f"h{suffix}"))
    assert (last.about["layer"], last.about["layer_choice"]) == ("layer4", "the last one; layer2 is the ranked one")
    assert last.values.shape != kept.values.shape or not np.allclose(last.values, kept.values)
    typed("embed", "simclr", "photos", "-o", f"g{suffix}", "--layer", "layer2")
    np.testing.assert_allclose(feature_file.read(Path(f"g{suffix}")).values, kept.values, rtol=1e-5, atol=1e-5)


def test_neighbours_of_an_encoder_and_of_a_file_are_the_same(trained: Path, typed: Type) -> None:
    by_encoder = typed("neighbours", "simclr", "photos", "photos/0.png", "-k", 2)
    assert by_encoder.code == 0
    assert "2 images cannot be read" in by_encoder.error
    typed("embed", "simclr", "photos", "-o", "f.npy")
    by_file = typed("neighbours", "f.npy", "photos", "0.png", "-k", 2, "-o", "sheet.png")
    rows = [line.split() for line in by_file.out.splitlines()[1:3]]
    assert rows == [line.split() for line in by_encoder.out.splitlines()[1:3]]
    assert rows[0][2] == "1.png"
    for printed in (by_encoder.error, by_file.error):
        assert "random-0, layer2 (the ranked one), 32 features" in printed
    other = typed("neighbours", "simclr", "photos", "photos/0.png", "--layer", "layer3")
    assert "random-0, layer3 (as asked; layer2 is the ranked one), " in other.error
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 3 * 96


def test_a_query_from_elsewhere(trained: Path, typed: Type) -> None:
    paint(Path("other.png"), (40, 215, 9))  # as 1.png
    result = typed("neighbours", "simclr", "photos", "other.png", "-k", 1, "-o", "sheet.png")
    assert result.out.splitlines()[1].split() == ["1", "1.0000", "1.png"]
    assert "sheet.png" in result.out


def test_export_says_how_near_it_is_and_how_to_load_it(trained: Path, typed: Type) -> None:
    result = typed("export", "best", "--to", "torchscript", "-o", "it.pt")
    assert result.code == 0
    assert "Compared with the original: largest absolute difference" in result.out
    assert "torch.jit.load('it.pt')" in result.out
    assert "simclr-0, layer2 (the ranked one), 32 features, as torchscript" in result.out
    card = json.loads(Path("it.pt.json").read_text())
    assert [card[key] for key in ("format", "layer", "layer_choice", "dim")] == [
        "torchscript",
        "layer2",
        "the ranked one",
        32,
    ]
    typed("export", "best", "--to", "torchscript", "-o", "last.pt", "--layer", "last")
    assert json.loads(Path("last.pt.json").read_text())["layer"] == "layer4"


def test_an_export_that_differs_ends_with_status_1_and_no_file(
    trained: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretextbench.export.write.LIMIT", -1.0)
    result = typed("export", "best", "--to", "torchscript", "-o", "it.pt")
    assert result.code == 1
    assert "it.pt was not written" in result.message
    assert not list(Path().glob("*it.pt*"))


# Mistakes: one message, status 2, nothing written.

OUT = ["-o", "f.npy"]
MISTAKES = [
    (["embed", "simclr", "nowhere", *OUT], "IMAGES: nowhere does not exist"),
    (["embed", "simclr", "stages", *OUT], "IMAGES: stages holds no images"),
    (["embed", "simclr", "photos/4.png", *OUT], "None of the 1 images can be read. The first: 4.png: empty"),
    (["embed", "simclt", "photos", *OUT], "Did you mean 'simclr'?"),
    (["embed", "simclr", "photos", "-o", "f.csv"], "Allowed: .parquet, .npy"),
    (["embed", "simclr", "photos", "-o", "photos"], "Allowed: .parquet, .npy"),
    (["embed", "simclr", "photos", *OUT, "--layer", "layer9"], "there is no layer 'layer9'"),
    (["embed", "simclr", "photos", *OUT, "--device", "abacus"], "--device: 'abacus' cannot be used here"),
    (["embed", "simclr", "photos", *OUT, "--fit", "bend"], "crop"),
    (["embed", "simclr", "photos", *OUT, "--batch-size", "0"], "batch-size"),
    (["embed", "simclr", "photos", "-o", "params.yaml/f.npy"], "a part of that path is a file"),
    (["neighbours", "f.parquet", "photos", "0.png"], "holds no features that can be read (No such file"),
    (["neighbours", "simclr", "photos", "7.png"], "neither a file nor the name of one of IMAGES"),
    (["neighbours", "simclr", "photos/0.png", "photos/0.png"], "no image to compare"),
    (["neighbours", "simclr", "photos", "0.png", "-o", "sheet.jpg"], "does not end in .png"),
    (["export", "simclr", "--to", "onx", "-o", "it.onnx"], "Did you mean 'onnx'?"),
    (["export", "simclr", "--to", "onnx", "-o", "it.pt"], "does not end in .onnx"),
    (["export", "photos", "--to", "onnx", "-o", "it.onnx"], "holds no encoder.json"),
    (["export", "simclr", "--to", "torchscript", "-o", "params.yaml/it.pt"], "a part of that path is a file"),
]


@pytest.mark.parametrize(("typing", "result"), MISTAKES, ids=[f"{i}" for i in range(len(MISTAKES))])
def test_mistakes(trained: Path, typed: Type, typing: list[str], result: str) -> None:
    before = sorted(trained.rglob("*"))
    actual = typed(*typing)
    assert actual.code == 2
    assert result in actual.error
    assert (actual.out, actual.error.count("error:")) == ("", 1)
    assert "Traceback" not in actual.error
    assert sorted(trained.rglob("*")) == before


@pytest.mark.parametrize("typing", [["embed", "simclr", "photos", *OUT], ["export", "simclr", "--to", "torchscript"]])
@pytest.mark.parametrize(("number", "result"), [(28, "no space left"), (13, "no permission to write")])
def test_a_place_that_cannot_be_written(
    trained: Path, typed: Type, monkeypatch: pytest.MonkeyPatch, typing: list[str], number: int, result: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    before = sorted(trained.rglob("*"))
    actual = typed(*typing, *([] if "-o" in typing else ["-o", "it.pt"]))
    assert actual.code == 2
    assert result in actual.message
    assert sorted(trained.rglob("*")) == before


@pytest.mark.parametrize("typing", [["embed", "simclr", "photos", *OUT], ["neighbours", "simclr", "photos", "0.png"]])
def test_ctrl_c_leaves_nothing(trained: Path, typed: Type, monkeypatch: pytest.MonkeyPatch, typing: list[str]) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pretextbench.embedding.extract.check_finite", stop)
    before = sorted(trained.rglob("*"))
    assert typed(*typing).code == 130
    assert sorted(trained.rglob("*")) == before


def test_a_damaged_encoder_is_told(trained: Path, typed: Type) -> None:
    weights = trained / "runs" / "pretrain" / "simclr-0" / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for typing in (["embed", "simclr", "photos", *OUT], ["export", "simclr", "--to", "torchscript", "-o", "it.pt"]):
        actual = typed(*typing)
        assert (actual.code, "is not the file that encoder.json describes" in actual.message) == (2, True)


@pytest.mark.slow
def test_ctrl_c_of_a_real_process(trained: Path) -> None:
    """From outside, in the midst of reading a pipe's worth of images: status 130, one message, no file."""
    for i in range(3000):
        os.link(trained / "photos" / "0.png", trained / "photos" / f"again{i}.png")
    command = [sys.executable, "-m", "pretextbench.command", "embed", "simclr", "photos", "-o", "f.npy"]
    process = subprocess.Popen(
        [*command, "--batch-size", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=trained,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in background
    )
    wait_until(lambda: any(trained.glob(".f.npy.*")), process)
    process.send_signal(signal.SIGINT)
    assert "stopped by Ctrl-C" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert not list(trained.glob("*f.npy*"))


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    import time

    for _ in range(1200):
        if true():
            return
        assert process.poll() is None, "it ended before it was stopped"
        time.sleep(0.05)
    raise AssertionError("it never began")
