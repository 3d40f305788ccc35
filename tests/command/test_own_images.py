"""docs/own-images.md: every command of the page is typed, on folders like those it speaks of."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepare import open_source
from pretextbench.params import load
from tests.command.conftest import CHECKOUT, Type
from tests.command.photographs import classes, photograph

PAGE = (CHECKOUT / "docs" / "own-images.md").read_text()
COMMANDS = re.findall(r"^pretextbench .*$", PAGE, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_does_what_the_page_says(
    line: str, tmp_path: Path, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: begun.append(arguments))
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("pretextbench.command.project._trouble", lambda port: "")
    (project / "mlflow.db").touch()
    (project / "reports").mkdir()
    (project / "reports" / "report.html").touch()
    name, *arguments = shlex.split(line)[1:]
    if "--labels" in arguments:
        (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(20)))
        for i in range(20):
            photograph(tmp_path / "photos" / f"{i}.png", i)
    else:
        classes(tmp_path / "photos", 12)
    arguments = [term.replace("~", str(tmp_path)) for term in arguments]
    result = typed(
        name, *arguments, *(["--no-measure"] if name == "init" else []), *(["--quick"] if name == "doctor" else [])
    )
    if name == "doctor":  # an empty file is no store
        assert "MLflow store" in result.out
        return
    assert (result.code, result.error) == (0, "")
    assert len(begun) == (name in ("run", "ui"))


TABLE = re.findall(r"^\| (.*?) \| `pretextbench (init .*?)` \| (.*?) \|$", PAGE, re.M)
COUNT = 24
TABLES = {  # what the table of the page speaks of -> first line of labels.csv, and a row
    "labels.csv": ("file,label,patient", lambda i: f"{'ab'[i % 2]},p{i // 3}"),
    "tags.csv": ("file,tags", lambda i: ["wet|dark", "dark", "wet"][i % 3]),
    "ages.csv": ("file,age", lambda i: str(i * 1.5)),
}


def in_hand(place: Path, line: str) -> None:
    """A folder like the one that a row of the table speaks of, in `photos` and beside it."""
    labels = line.partition("--labels ")[2].partition(" ")[0]
    for i in range(COUNT):
        folder = "" if labels or "none" in line else f"{'ab'[i % 2]}/{f'p{i // 3}' if 'folder' in line else ''}"
        photograph(place / "photos" / folder / f"{i}.png", i)
    if labels in TABLES:
        head, row = TABLES[labels]
        (place / labels).write_text("\n".join([head, *(f"{i}.png,{row(i)}" for i in range(COUNT))]) + "\n")
    for i in range(COUNT if labels in ("masks", "annotations") else 0):
        (place / labels).mkdir(exist_ok=True)
        if labels == "masks":
            Image.fromarray(np.eye(40, k=i, dtype=np.uint8)).save(place / labels / f"{i}.png")
        else:
            objects = "<object><name>cat</name></object>" * (i % 3) + "<object><name>dog</name></object>" * (i % 2)
            (place / labels / f"{i}.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.mark.parametrize(("have", "line", "measure"), TABLE, ids=[have for have, *_ in TABLE])
def test_the_table_of_what_people_have(
    have: str, line: str, measure: str, tmp_path: Path, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_hand(project, line)
    result = typed(*shlex.split(line), "--no-measure", "--weights", "none")
    assert (result.code, result.error) == (0, "")
    params = load(project / "params.yaml").prepare
    tasks = {
        "accuracy": "auto",
        "mean average": "multi-label",
        "R2": "number",
        "mean inter": "mask",
        "label-free": "auto",
    }
    (task,) = (task for words, task in tasks.items() if measure.startswith(words))
    assert params.task == ("class" if params.group not in (None, "folder") else task)
    assert params.group == ({"folder": "folder", "patient": "patient"}.get(line.split()[-1]))
    listing = open_source(params)
    assert (listing.groups is None) == (params.group is None)
    assert bool(listing.classes) == measure.startswith("accuracy")


def test_the_table_is_found() -> None:
    assert len(TABLE) == 11


def test_the_page_has_commands() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"init", "run", "report", "doctor", "ui"}


def test_the_profiles_of_the_page_are_those_of_the_code() -> None:
    from pretextbench.command.choose import PLANS

    for profile, plan in PLANS.items():
        (row,) = re.findall(rf"^\| `{profile.value}` \|.*$", PAGE, re.M)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2:4] == [str(plan.side), f"{plan.images:,}"]
        assert cells[4].endswith(f"; {len(plan.seeds)}")
        assert cells[5] == f"`{plan.encoder[0]}`, width {plan.encoder[1]}"
