"""What a person sees of a run, on a recording console and a clock that stands where a test puts it."""

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines import display, graph_run
from pipelines.display import Lines, Stages, span
from pipelines.reproduce import Outcome
from pretextbench.project import layout

NAMES = ["inventory", "prepare", "pretrain@simclr-0", "pretrain-control@random-0", "evaluate@simclr-0", "compare"]
BEGAN = 1000.0


class Clock:
    """A time that a test sets."""

    now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch(root: Path, clock: Clock, height: int = 40, names: list[str] = NAMES) -> Stages:
    console = Console(record=True, width=90, height=height, force_terminal=True, file=io.StringIO())
    return Stages(root, names, clock, console)


def begin(root: Path, stage: str, when: float) -> None:
    """What is seen of a stage that begins."""
    log = root / ".prefect/logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    os.utime(log, (when, when))


def tell(root: Path, run: str, **content: Any) -> Path:
    """What a training writes."""
    usual = {"step": 30, "steps": 120, "images_per_second": 1234.5, "loss": 1.0, "seconds_left": 65.0, "notes": []}
    path = root / layout.progress(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**usual, "updated": BEGAN, **content}))
    return path


def drawn(view: Stages) -> dict[str, list[str]]:
    """First cell -> the others, of what is on the screen; the foot under the key ''."""
    view.console.print(view)
    lines = view.console.export_text(clear=True).splitlines()
    rows = {line.split()[0]: re.split(r"\s{2,}", line.strip())[1:] for line in lines if line.split()[0] in view.names}
    return {**rows, "": [line for line in lines[1:] if line.split()[0] not in view.names]}


def test_a_stage_waits_runs_and_ends(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    begin(tmp_path, "compare", BEGAN - 5)  # by an earlier run
    assert {row[0] for name, row in drawn(view).items() if name} == {"waiting"}
    clock.now += 2
    begin(tmp_path, "prepare", clock.now)
    assert drawn(view)["prepare"] == ["running", "0"]
    clock.now += 7
    assert drawn(view)["prepare"] == ["running", "7"]
    view.ended(Outcome("inventory", "ran", 1.25))
    view.ended(Outcome("prepare", "failed", 7.5, "x; see y"))
    view.ended(Outcome("compare", "not run"))
    result = drawn(view)
    assert result["inventory"] == ["ran", "1.2"]
    assert result["prepare"] == ["failed", "7.5"]
    assert result["compare"] == ["not run"]
    assert result[""] == ["1 of 6 stages; 1 failed, 1 ran, 1 not run, 3 waiting; 0:09 so far"]


def test_a_training_shows_how_far_it_is(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    for stage in ("pretrain@simclr-0", "pretrain-control@random-0", "evaluate@simclr-0"):
        begin(tmp_path, stage, BEGAN)
    assert drawn(view)["pretrain@simclr-0"] == ["running", "0"]
    clock.now += 10
    tell(tmp_path, "simclr-0", updated=clock.now)
    tell(tmp_path, "random-0", updated=BEGAN - 1)  # an earlier training's
    result = drawn(view)
    assert result["pretrain@simclr-0"] == ["running", "25%", "1,234", "1:05", "10"]
    assert result["pretrain-control@random-0"] == ["running", "10"]


def test_on_a_narrow_terminal_names_and_heads_are_whole(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    view.console.width = 60
    begin(tmp_path, "pretrain@simclr-0", BEGAN)
    tell(tmp_path, "simclr-0")
    view.console.print(view)
    lines = view.console.export_text().splitlines()
    assert lines[0].split() == ["stage", "state", "%", "left", "seconds"]
    assert lines[3].split() == ["pretrain@simclr-0", "running", "25%", "1:05", "0"]
    assert not [line for line in lines if "…" in line]


def test_what_trains_nothing_or_has_not_told_its_speed_shows_no_numbers(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    for stage in ("pretrain@simclr-0", "pretrain-control@random-0"):
        begin(tmp_path, stage, BEGAN)
    tell(tmp_path, "random-0", step=0, steps=0, images_per_second=0.0, seconds_left=0.0)
    tell(tmp_path, "simclr-0", images_per_second=0.0, seconds_left=0.0)
    result = drawn(view)
    assert result["pretrain-control@random-0"] == ["running", "0"]
    assert result["pretrain@simclr-0"] == ["running", "25%", "0"]
    assert result[""] == ["0 of 6 stages; 2 running, 4 waiting; 0:00 so far"], "no time is made up"


def test_stages_that_will_not_run_count_as_done(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    view.planned({"inventory", "evaluate@simclr-0", "compare"})
    view.ended(Outcome("inventory", "ran", 1.0))
    view.ended(Outcome("evaluate@simclr-0", "ran", 300.0))
    result = drawn(view)
    assert result["prepare"] == ["up to date"]
    assert result["compare"] == ["waiting"]
    assert result[""] == ["5 of 6 stages, about 1 min left; 2 ran, 1 waiting, 3 up to date; 0:00 so far"]


def test_the_time_left_is_that_of_the_trainings(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock, names=["pretrain@simclr-0", "pretrain@rotation-0", "compare"])
    begin(tmp_path, "pretrain@simclr-0", BEGAN)
    clock.now += 10
    tell(tmp_path, "simclr-0", updated=clock.now, seconds_left=530.0)
    drawn(view)
    clock.now += 180
    assert drawn(view)[""] == ["0 of 3 stages, at least 21 min left; 1 running, 2 waiting; 3:10 so far"]


def test_the_file_of_a_training_is_not_taken_for_that_of_its_evaluation(tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    tell(tmp_path, "simclr-0", updated=BEGAN + 5)
    clock.now += 9
    begin(tmp_path, "evaluate@simclr-0", clock.now)
    assert drawn(view)["evaluate@simclr-0"] == ["running", "0"]


def test_warnings_are_shown_once_below_the_table_and_kept_for_the_summary(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = watch(tmp_path, clock)
    begin(tmp_path, "pretrain@simclr-0", BEGAN)
    drawn(view)
    tell(tmp_path, "simclr-0", updated=BEGAN + 1, notes=["the features have\ncollapsed [red]"])
    assert drawn(view)[""][1:] == ["simclr-0: the features have collapsed [red]"]
    tell(tmp_path, "simclr-0", updated=BEGAN + 2, notes=["the features have collapsed"])
    view.ended(Outcome("pretrain@simclr-0", "ran", 3.0))  # reads what was told last
    assert drawn(view)[""][1:] == ["simclr-0: the features have collapsed"]
    assert graph_run.finish([Outcome("pretrain@simclr-0", "ran", 3.0)], [], view.notes) == 0
    assert capsys.readouterr().err == "\nwarning: simclr-0: the features have collapsed\n"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"updated": 2000}', '{"updated": "x"}', '{"updated": null}', "\xff"]
)
def test_a_file_that_cannot_be_read_is_no_error(content: str, tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    begin(tmp_path, "pretrain@simclr-0", BEGAN)
    tell(tmp_path, "simclr-0").write_text(content, encoding="latin-1")
    assert drawn(view)["pretrain@simclr-0"] == ["running", "0"]


@pytest.mark.parametrize(
    "odd", [{"steps": 0}, {"seconds_left": float("nan")}, {"images_per_second": float("inf")}, {"step": "many"}]
)
def test_odd_numbers_are_no_error(odd: dict[str, Any], tmp_path: Path, clock: Clock) -> None:
    view = watch(tmp_path, clock)
    begin(tmp_path, "pretrain@simclr-0", BEGAN)
    tell(tmp_path, "simclr-0", **odd)
    assert drawn(view)["pretrain@simclr-0"][0] == "running"


def test_where_the_terminal_is_low_what_matters_stays(tmp_path: Path, clock: Clock) -> None:
    names = [f"stage@{number}" for number in range(50)]
    view = watch(tmp_path, clock, height=20, names=names)
    begin(tmp_path, "stage@44", BEGAN)
    for number in range(40):
        view.ended(Outcome(f"stage@{number}", "failed" if number == 3 else "up to date"))
    result = drawn(view)
    assert {"stage@3", "stage@44", "stage@49"} <= set(result)
    assert len(result) - 1 == 12
    assert result[""] == ["39 of 50 stages; 38 not shown; 1 running, 1 failed, 9 waiting, 39 up to date; 0:00 so far"]


def test_without_a_terminal_there_are_lines(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert type(display.screen(tmp_path, NAMES)) is Lines
    tell(tmp_path, "simclr-0", notes=["collapsed"])
    with Lines(tmp_path, NAMES, clock) as lines:
        lines.ended(Outcome("pretrain@simclr-0", "ran", 1.25))
        lines.ended(Outcome("compare", "not run"))
    assert capsys.readouterr().out == "pretrain@simclr-0: ran (1.2 s)\n"
    assert lines.notes == {"simclr-0": ("collapsed",)}


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (11100, "3:05:00")])
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text
