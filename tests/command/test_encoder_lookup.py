"""Which encoder a word stands for: a method, a run, a folder, or `best`, and which layer of it."""

import shutil
from pathlib import Path

import pytest

from pretextbench.command import encoder_lookup
from pretextbench.errors import UserError
from pretextbench.report import headline
from tests import encoder_files


@pytest.mark.parametrize(
    ("name", "run"),
    [("simclr", "simclr-0"), ("simclr-1", "simclr-1"), ("rotation", "rotation-2"), ("best", "simclr-0")],
)
def test_a_word_stands_for_an_encoder_of_the_project(trained: Path, name: str, run: str) -> None:
    assert encoder_lookup.find(name) == trained / "runs" / "pretrain" / run


def test_a_folder_is_itself_also_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder_files.write(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert encoder_lookup.find("mine") == Path("mine")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclt", r"there is no 'simclt'\. Did you mean 'simclr'\? Trained: random-0, rotation-2, simclr-0"),
        ("simclr-7", r"there is no 'simclr-7'"),
        ("photos", r"ENCODER: photos holds no encoder\.json\. A folder with"),
        ("no/where", r"ENCODER: no/where holds no encoder\.json"),
    ],
)
def test_unknown_encoders_are_told(trained: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder_lookup.find(name)


@pytest.mark.parametrize(
    ("board", "message"),
    [
        (
            "name,kind,linear,picked\nsimclr,method,,0\n",
            r"nothing is recommended without labels\. Name a method: simclr",
        ),
        ("name,kind,linear,picked\nrandom,control,1,0\n", "marks no pretext method"),
        ("name,kind,linear,picked\njigsaw,method,1,1\n", "marks no pretext method that is trained here"),
        ("name,kind,linear\nsimclr,method,1\n", "pretextbench run"),  # of an earlier version
        ("", "pretextbench run"),
    ],
)
def test_best_needs_a_recommendation(trained: Path, board: str, message: str) -> None:
    (trained / "reports" / "leaderboard.csv").write_text(board)
    with pytest.raises(UserError, match=message):
        encoder_lookup.find("best")


def test_best_needs_a_leaderboard(trained: Path) -> None:
    (trained / "reports" / "leaderboard.csv").unlink()
    with pytest.raises(UserError, match=r"Cannot read .*leaderboard\.csv.*pretextbench run"):
        encoder_lookup.find("best")


LAYERS = ["layer1", "layer2", "layer3", "layer4"]
BOARD = (
    "name,kind,linear,linear_layer\nrandom,control,0.9,layer1\nsimclr,method,0.8,layer3\nrotation,method,0.7,layer1\n"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "layer2 (the ranked one)"),
        ("best", "layer2 (the ranked one)"),
        ("layer2", "layer2 (the ranked one)"),
        ("last", "layer4 (the last one; layer2 is the ranked one)"),
        ("layer1", "layer1 (as asked; layer2 is the ranked one)"),
    ],
)
def test_a_layer_is_the_ranked_one_unless_another_is_named(trained: Path, name: str | None, expected: str) -> None:
    assert str(encoder_lookup.find_layer(encoder_lookup.find("simclr"), name, LAYERS)) == expected


def test_the_leaderboard_names_the_layer_of_all_seeds(trained: Path) -> None:
    (trained / "reports" / "leaderboard.csv").write_text(BOARD)
    for run, layer in (
        ("simclr-0", "layer3"),
        ("simclr-1", "layer3"),
        ("rotation-2", "layer1"),
        ("random-0", "layer1"),
    ):
        assert encoder_lookup.find_layer(encoder_lookup.find(run), None, LAYERS).name == layer


def test_without_a_ranked_layer_it_is_the_last_and_the_reason_is_told(trained: Path, tmp_path: Path) -> None:
    """An old project, one without labels, and an encoder that was copied away."""
    evaluation = trained / "runs" / "evaluate" / "simclr-0" / "metrics.json"
    elsewhere = encoder_files.write(tmp_path / "mine")
    for folder, reason in (
        (encoder_lookup.find("rotation"), "this encoder was not evaluated, so none is ranked"),
        (encoder_lookup.find("simclr"), "there were no labels to rank them by"),
        (elsewhere, "the encoder is not in a project, so none is ranked"),
    ):
        evaluation.write_text('{"labelled": false}')
        assert encoder_lookup.find_layer(folder, None, LAYERS) == ("layer4", f"the last one: {reason}")
        assert str(encoder_lookup.find_layer(folder, "last", LAYERS)) == "layer4 (the last one)"
        with pytest.raises(UserError, match=f"--layer best: {reason}. Name a layer instead: layer1, layer2"):
            encoder_lookup.find_layer(folder, "best", LAYERS)
    evaluation.write_text("{")
    with pytest.raises(UserError, match=r"Cannot read .*metrics\.json.*Run the evaluate stage"):
        encoder_lookup.find_layer(encoder_lookup.find("simclr"), None, LAYERS)


def test_a_layer_that_the_encoder_has_not(trained: Path) -> None:
    with pytest.raises(UserError, match=r"no layer 'layer9'\..* Allowed: last, best, layer1"):
        encoder_lookup.find_layer(encoder_lookup.find("simclr"), "layer9", LAYERS)


@pytest.mark.parametrize("lead", ["Open: no method is shown to help", "Shown: use simclr"])
def test_best_says_where_the_report_recommends_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str], lead: str
) -> None:
    (trained / "reports" / "leaderboard.csv").write_text("name,kind,linear,picked\nsimclr,method,0.5,1\n")
    (trained / "reports" / "recommendation.md").write_text(f"# Which?\n\n**{lead}.** Then **bold: words**.\n")
    encoder_lookup.find("best")
    said = f'note: the report says "{lead}". Validation picked simclr, so `best` is simclr.\n'
    assert capsys.readouterr().err == (said if lead.startswith(headline.OPEN) else "")


def test_the_folder_of_a_comparison_without_a_project_is_read(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "comparison"
    shutil.copytree(trained / "runs", folder / "runs")
    monkeypatch.chdir(folder / "runs")
    assert encoder_lookup.find("simclr") == folder / "runs" / "pretrain" / "simclr-0"
