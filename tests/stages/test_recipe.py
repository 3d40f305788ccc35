"""What the report says of how its encoders were made."""

import json
from pathlib import Path

import pytest

from pretextbench.project import layout
from pretextbench.train.encoder_folder import CARD
from stages.compare import recipe


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("compare: {seeds: [0]}\n")
    monkeypatch.setattr(layout, "PARAMS", tmp_path / "params.yaml")
    monkeypatch.setattr(layout, "root", lambda: tmp_path)


def card(folder: Path, method: str, **more: object) -> Path:
    content = {
        "method": method,
        "distribution": f"pretext-{method}",
        "version": "0.1.0",
        "device": "cpu",
        "precision": "bf16",
        "data_sha256": "ab" * 32,
        **more,
    }
    (folder / method).mkdir()
    (folder / method / CARD).write_text(json.dumps(content))
    return folder / method


def test_a_method_whose_labels_were_watched_is_named(tmp_path: Path) -> None:
    folders = [card(tmp_path, "simclr", monitored=True), card(tmp_path, "rotation", monitored=False)]
    told = recipe(folders)["k-NN on validation labels watched"]
    assert told == "while simclr trained; it chose nothing, and the seconds leave it out"


def test_where_nobody_watched_nothing_is_said(tmp_path: Path) -> None:
    found = recipe([card(tmp_path, "simclr", monitored=False), card(tmp_path, "rotation")])
    assert not any("k-NN" in name for name in found)
    assert found["params.yaml"] == "compare: {seeds: [0]}\n"
