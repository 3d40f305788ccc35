"""The library in one process: a comparison of a folder, the object that it gives, and encoders as features."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pretextbench as pb
from pretextbench.errors import UserError
from tests.checkout import PROJECT

SMALL = {"prepare": {"image_size": 16}, "encoder": {"width": 4}, "pretrain": {"batch_size": 32, "precision": "fp32"}}
SMALL |= {"augment": {"view_images": 8}, "evaluate": {"budgets": ["50%"], "redraws": 1, "map_images": 0}}
COUNT = 60  # images of each class


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of noise, one reddish and one bluish."""
    root, draws = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (root / name).mkdir()
        for i in range(COUNT):
            pixels = draws.integers(0, 120, (24, 20, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def result(photos, tmp_path_factory):
    lines = []
    made = pb.compare(
        photos, ["rotation"], images=128, folder=tmp_path_factory.mktemp("out"), tell=lines.append, **SMALL
    )
    made.lines = lines
    return made


def test_a_comparison_has_a_table_an_answer_and_a_report(result):
    assert set(result.leaderboard.index) == {"rotation", "random", "pixels", "supervised"}
    assert result.leaderboard["linear"].between(0, 1).all()
    assert result.recommendation.startswith("# Which pretext method")
    assert result.report.read_text().startswith("<!doctype html>")
    assert list(result.table.columns) == ["linear %", "low", "high", "tie", "layer", "k-NN %", "seconds"]
    assert "1 of 4: rotation, seed 0" in result.lines
    assert "rotation" in result._repr_html_()
    assert "The whole report" in repr(result)


def test_the_plot_has_a_bar_for_each_row(result):
    axes = result.plot().axes[0]
    assert len(axes.patches) == 4
    widest = max(bar.get_width() for bar in axes.patches)
    assert widest == pytest.approx(100 * result.leaderboard["linear"].max())


def test_the_best_encoder_embeds_arrays_files_and_folders_alike(result, photos):
    assert result.best.folder.name == "rotation-0"
    assert result.best.layer == result.leaderboard.loc["rotation", "linear_layer"]
    files = [photos / "red/0.png", photos / "blue/3.png"]
    features = result.best.embed(files)
    assert features.shape[0] == 2
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert result.best.embed(pixels) == pytest.approx(features, abs=0.2), "arrays are cut and scaled as files are"
    assert result.best.embed(photos / "red").shape[0] == COUNT
    assert result.best.embedder().transform(str(files[0])) == pytest.approx(features[:1], abs=1e-5)
    assert not result.best.encoder.training
    assert "the ranked layer" in repr(result.best)


def test_features_are_of_the_ranked_layer_and_of_every_image(result):
    """More images than a batch; the last layer gives other features."""
    images = np.random.default_rng(0).integers(0, 255, (600, 16, 16, 3)).astype(np.uint8)
    trained = pb.Trained(result.best.folder, "layer1")
    assert trained.embedder().layer == "layer1"
    features = trained.embed(images)
    assert len(features) == 600
    assert features[-1:] == pytest.approx(trained.embed(images[-1:]), abs=1e-4)
    last = pb.Embedder(result.best.folder).transform(images[:4])
    assert last.shape != features[:4].shape or not np.allclose(last, features[:4])


def test_an_embedder_goes_into_a_pipeline(result, photos):
    files = sorted(photos.glob("*/*.png"))
    labels = [file.parent.name for file in files]
    pipeline = clone(make_pipeline(result["random"].embedder(), LogisticRegression(max_iter=500)))
    assert pipeline.fit(files, labels).score(files, labels) > 0.8


def test_a_project_is_opened_and_its_encoder_loaded(result):
    opened = pb.open(str(result.folder))
    assert opened.leaderboard.equals(result.leaderboard)
    assert opened["rotation-0"].folder == result["rotation"].folder
    encoder = pb.load_encoder(result["rotation"].folder)
    assert encoder(torch.rand(2, 3, 16, 16)).shape == (2, encoder.dim)


@pytest.mark.slow
def test_a_further_call_with_the_same_folder_trains_what_is_new(result, photos, tmp_path):
    shutil.copytree(result.folder, tmp_path / "out")
    lines, rows = [], {"methods": ["rotation"], "controls": ["random"]}
    pb.compare(photos, **rows, images=128, seeds=(0, 1), folder=tmp_path / "out", tell=lines.append, **SMALL)
    assert [line.split()[0] for line in lines if " 128 images in " in line] == ["kept:", "trained:"]
    cards = [Path(folder, "runs/pretrain/rotation-0/encoder.json") for folder in (result.folder, tmp_path / "out")]
    assert cards[0].read_text() == cards[1].read_text()


def test_mistakes_are_sentences(photos, tmp_path, result):
    with pytest.raises(UserError, match=r"compare.*rotatoin|rotatoin"):
        pb.compare(photos, ["rotatoin"])
    with pytest.raises(UserError, match="does not exist"):
        pb.compare(tmp_path / "nothing", folder=tmp_path / "out", tell=str)
    with pytest.raises(UserError, match="stages of the pipeline"):
        pb.compare(photos, tune={"trials": 3})
    with pytest.raises(UserError, match="holds no finished comparison"):
        pb.open(str(tmp_path))
    with pytest.raises(KeyError, match="no row 'simclr'"):
        result["simclr"]
    with pytest.raises(UserError, match=r"uint8, RGB; found float32"):
        result.best.embed(np.zeros((2, 16, 16, 3), np.float32))
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad.png cannot be read"):
        result.best.embed([tmp_path / "bad.png"])
    with pytest.raises(UserError, match="the sequence is empty"):
        result.best.embed([])


def test_a_plugin_does_not_pay_for_the_library():
    """The top of the package imports nothing heavy; its names come when they are asked for."""
    code = "import sys, pretextbench; print(sorted({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert set(pb.__all__) >= {"compare", "open", "load_encoder", "Embedder"}
    assert all(hasattr(pb, name) for name in pb.__all__)
    with pytest.raises(AttributeError, match="no attribute 'cmpare'"):
        _ = pb.cmpare  # type: ignore[attr-defined]
    assert Path(pb.__file__).parent.joinpath("py.typed").is_file()


@pytest.mark.slow
def test_the_notebook_runs(capsys, monkeypatch, tmp_path):
    """Each cell of docs/notebook.ipynb in turn; the last expression of a cell is shown, as a notebook does."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((PROJECT / "docs/notebook.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are not kept"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["result"].folder.is_dir()
    assert "5 of 5: supervised, seed 0" in capsys.readouterr().out
