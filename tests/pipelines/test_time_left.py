"""The time that a run still takes: known answers, and no number where nothing is known."""

import pytest

from pipelines.reproduce import Outcome
from pipelines.time_left import Running, in_words, kind, time_left
from pretextbench.project.progress import Progress

TRAINING = Progress(step=30, steps=120, images_per_second=100.0, seconds_left=540.0)
STARTING = Progress(step=0, steps=120)
NOTHING = Progress(step=0, steps=0)


def ran(stage: str, seconds: float) -> Outcome:
    return Outcome(stage, "ran", seconds)


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert time_left(["prepare", "pretrain@a-0"], {}, [], [], 1) == ""
    assert time_left([], {"pretrain@a-0": Running(5.0, STARTING)}, [], [], 1) == ""
    assert time_left([], {}, [ran("prepare", 60.0)], [], 1) == "", "nothing is left"


def test_a_training_says_what_is_left_of_it_and_of_those_that_wait() -> None:
    running = {"pretrain@a-0": Running(180.0, TRAINING)}
    assert time_left([], running, [], [], 1) == "about 9 min left"
    assert time_left(["pretrain@b-0"], running, [], [], 1) == "about 21 min left"  # and 180 + 540 s
    assert time_left(["pretrain@b-0"], running, [], [], 2) == "about 12 min left"  # side by side: the longest


def test_of_what_nobody_has_told_of_it_is_a_lower_bound() -> None:
    running = {"pretrain@a-0": Running(180.0, TRAINING)}
    for unknown in ("evaluate@a-0", "pretrain-control@supervised-0", "compare"):
        assert time_left([unknown], running, [], [], 1) == "at least 9 min left"


def test_stages_that_ended_tell_of_their_kind_and_only_of_it() -> None:
    ended = [ran("evaluate@a-0", 100.0), ran("evaluate-control@b-0", 140.0), ran("audit", 30.0)]
    assert time_left(["evaluate@c-0"], {}, ended, [], 1) == "about 2 min left"
    assert time_left(["evaluate@c-0", "compare"], {}, ended, [], 1) == "about 2 min left"  # 120 and 30 s
    assert time_left(["evaluate@c-0", "pretrain@c-0"], {}, ended, [], 1) == "at least 2 min left"
    others = [Outcome("evaluate@a-0", "restored", 2.0), Outcome("evaluate@b-0", "failed", 2.0)]
    assert time_left(["evaluate@c-0"], {}, others, [], 1) == ""


def test_what_trains_nothing_tells_nothing() -> None:
    ended = [ran("pretrain-control@random-0", 6.0)]
    waiting = ["pretrain-control@supervised-0"]
    assert time_left(waiting, {}, ended, ["pretrain-control@random-0"], 1) == ""
    running = {"pretrain-control@random-0": Running(6.0, NOTHING)}
    assert time_left(waiting, running, [], ["pretrain-control@random-0"], 1) == ""


EXPECTED = {"pretrain@a-0": 300.0, "pretrain@b-0": 600.0, "evaluate@a-0": 60.0, "pretrain-control@pixels-0": 0.0}


def test_an_estimate_says_what_is_left_before_anything_has_run() -> None:
    assert time_left(EXPECTED, {}, [], [], 1, EXPECTED) == "about 16 min left"
    assert time_left([*EXPECTED, "compare"], {}, [], [], 1, EXPECTED) == "at least 16 min left"
    assert time_left([], {"pretrain@a-0": Running(60.0, STARTING)}, [], [], 1, EXPECTED) == "about 4 min left"


def test_what_ran_corrects_the_estimate_of_its_kind_and_not_by_the_mean() -> None:
    """a took twice its estimate, so b will too: 20 min and not the 10 of a. Nothing is known of evaluation: 1 min."""
    waiting, ended = ["pretrain@b-0", "evaluate@a-0", "pretrain-control@pixels-0"], [ran("pretrain@a-0", 600.0)]
    assert time_left(waiting, {}, ended, [], 1, EXPECTED) == "about 21 min left"
    assert time_left(["pretrain@new-0"], {}, ended, [], 1, EXPECTED) == "about 10 min left", "the mean of what ran"


def test_a_stage_that_takes_longer_than_the_others_leaves_nothing_negative() -> None:
    ended, running = [ran("evaluate@a-0", 60.0)], {"evaluate@b-0": Running(600.0, None)}
    assert time_left(["evaluate@c-0"], running, ended, [], 1) == "about 1 min left"


@pytest.mark.parametrize(("seconds", "text"), [(2, "1 min"), (89, "1 min"), (540, "9 min"), (9000, "2.5 h")])
def test_lengths_of_time_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_kinds() -> None:
    assert kind("pretrain@a-0") == kind("pretrain-budget@a-at-2-0") != kind("pretrain-control@random-0")
    assert kind("evaluate@a-0") == kind("evaluate-reference@a-0")
    assert kind("compare") == kind("augment@a") == ""
