"""Which encoder a word stands for: a method, a run, a folder, or `best`, and which layer of it."""

import json
from pathlib import Path

import pytest

from pretextbench.command import encoder_lookup as words
from pretextbench.errors import UserError
from tests import encoders


@pytest.mark.parametrize(
    ("word", "run"),
    [("simclr", "simclr-0"), ("simclr-1", "simclr-1"), ("rotation", "rotation-2"), ("best", "simclr-0")],
)
def test_a_word_stands_for_an_encoder_of_the_project(trained: Path, word: str, run: str) -> None:
    assert words.find(word) == trained / "runs" / "pretrain" / run


def test_a_folder_is_itself_also_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders.write(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert words.find("mine") == Path("mine")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("simclt", r"there is no 'simclt'\. Did you mean 'simclr'\? Trained: random-0, rotation-2, simclr-0"),
        ("simclr-7", r"there is no 'simclr-7'"),
        ("photos", r"ENCODER: photos holds no encoder\.json\. A folder with"),
        ("no/where", r"ENCODER: no/where holds no encoder\.json"),
    ],
)
def test_unknown_encoders_are_told(trained: Path, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        words.find(word)


def test_best_needs_a_recommendation(trained: Path) -> None:
    metrics = trained / "reports" / "metrics.json"
    metrics.write_text(json.dumps({"simclr": {"rankme": 3}}))
    with pytest.raises(UserError, match=r"nothing is recommended without labels\. Name a method: simclr"):
        words.find("best")
    metrics.write_text(json.dumps({"random": {"linear": 1}}))
    with pytest.raises(UserError, match="names no pretext method"):
        words.find("best")
    for content in ("{", "[]"):
        metrics.write_text(content)
        with pytest.raises(UserError, match="pretextbench run"):
            words.find("best")
    metrics.unlink()
    with pytest.raises(UserError, match=r"Cannot read .*metrics\.json"):
        words.find("best")


def test_the_best_layer_is_the_one_that_was_chosen(trained: Path) -> None:
    assert words.best_layer(words.find("simclr")) == "layer2"
    with pytest.raises(UserError, match=r"Cannot read .*`--layer best` needs the evaluation"):
        words.best_layer(words.find("rotation"))
    (trained / "runs" / "evaluate" / "simclr-0" / "metrics.json").write_text('{"labelled": false}')
    with pytest.raises(UserError, match="for want of labels"):
        words.best_layer(words.find("simclr"))
