"""The answer on a terminal: from the files of a comparison, with labels or without, and never wider than 100."""

from pathlib import Path

import pytest

from pretextbench.project.answer import answer

LONG = "# Which?\n\n**Open: nothing is shown.** " + 40 * "Many words are here. " + "\n\nSecond.\n\n## Cost\n\n- none\n"
JUDGED = """\
name,kind,seeds,knn,linear,linear_low,linear_high,seconds
supervised,control,1,0.356667,0.411667,0.372517,0.451987,8085.4
simclr,method,1,,0.346667,,,18.76
"""
UNJUDGED = "name,kind,linear,seconds,rankme,uniformity,feature_std\nsimclr,method,,18.76,40.745472,-1.202848,0.562818\n"


def comparison(root: Path, board: str) -> Path:
    (root / "reports").mkdir()
    (root / "reports/recommendation.md").write_text(LONG)
    (root / "reports/leaderboard.csv").write_text(board)
    return root


def test_sentences_five_columns_the_report_and_the_next_command(tmp_path: Path) -> None:
    lead, second, table, places = answer(comparison(tmp_path, JUDGED)).split("\n\n")
    assert lead.startswith("Open: nothing is shown. Many words")
    assert second == "Second."
    assert table.splitlines() == [
        "                      linear %      interval  k-NN %  seconds",
        "supervised (control)      41.2  37.3 to 45.2    35.7    8,085",
        "simclr                    34.7                             19",
    ]
    assert places.splitlines() == [
        "report:  reports/report.html",
        "next:    pretextbench report  (opens it in a browser)",
    ]


def test_without_labels_the_table_has_what_was_measured(tmp_path: Path) -> None:
    table = answer(comparison(tmp_path, UNJUDGED)).split("\n\n")[2]
    assert table.splitlines() == [
        "        rankme  uniformity  feature_std  seconds",
        "simclr   40.75       -1.20         0.56       19",
    ]


@pytest.mark.parametrize("board", [UNJUDGED, JUDGED, JUDGED.replace("simclr", 9 * "long-name-")])
@pytest.mark.parametrize(("columns", "widest"), [("60", 60), ("300", 100)])
def test_lines_fit_the_terminal(
    columns: str, widest: int, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = answer(comparison(tmp_path, board)).splitlines()
    assert widest - 20 < max(map(len, lines)) <= widest


@pytest.mark.parametrize("missing", ["recommendation.md", "leaderboard.csv"])
def test_an_unfinished_comparison_has_none(missing: str, tmp_path: Path) -> None:
    (comparison(tmp_path, JUDGED) / "reports" / missing).unlink()
    assert answer(tmp_path) == ""
