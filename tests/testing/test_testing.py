"""The kit judges the judges: every check passes a sound method, and catches the fault that it is there for."""

import contextlib
import functools
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest
import torch

from pretextbench import testing
from pretextbench.base.child import Child
from pretextbench.method import Loss, PretextMethod
from pretextbench.params import MethodParams
from pretextbench.recipe import Recipe
from pretextbench.testing import losses, machines
from tests import faults
from tests.faulty_losses import CountsColours
from tests.forked import fork

CHECKS = testing.CHECKS
IDS = [method.__name__ for method, _, _ in faults.FAULTS]


def marked(check):
    return [pytest.mark.slow] if check == "two_processes" else []  # two are started


ROWS = [pytest.param(*row, marks=marked(row[1]), id=row[0].__name__) for row in faults.FAULTS]


# What a method may have of its own without another training; checks that read nothing but a training.
UNTRAINED = {"api_version", "reference", "show", "health"}
TRAINING = {"learns", "resumes", "same_seed", "other_seed", "quiet", "half_precision", "accelerator", "buffers_staged"}


@pytest.fixture(autouse=True, scope="module")
def _fewer_steps() -> Iterator[None]:
    """Twelve steps tell a loss that falls from one that does not, of these methods."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "STEPS", 12)
        yield


@functools.cache
def verdict(method: testing.Method, check: str) -> testing.Verdict:
    """What the kit says, once per session (and worker): a check takes up to seconds."""
    own = {name for name in vars(method) if name == "__init__" or not name.startswith("_")}
    if check in TRAINING and method.__bases__ == (faults.Sound,) and own <= UNTRAINED:
        return verdict(faults.Sound, check)
    (result,) = testing.judge(method, {check: CHECKS[check]})
    return result


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_method_passes(check):
    CHECKS[check](faults.Sound)


def test_a_method_that_stages_what_moves_its_buffers_passes():
    CHECKS["buffers_staged"](CountsColours)


@pytest.mark.slow
def test_a_method_that_gathers_with_gradients_passes():
    CHECKS["two_processes"](faults.Gathers)


@pytest.mark.filterwarnings("ignore:something is off", "ignore:std\\(\\)")
@pytest.mark.parametrize(("method", "check", "message"), ROWS)
def test_each_fault_is_caught_by_its_check_which_says_what_to_do(method, check, message):
    result = verdict(method, check)
    assert (result.check, result.state) == (check, "failed")
    assert re.search(message, f"{result.found}. {result.hint}.")
    assert len(result.found) > 10
    assert len(result.hint) > 20
    assert not (result.found + result.hint).endswith(".")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:something is off", "ignore:std\\(\\)")
@pytest.mark.parametrize(("method", "check"), [row[:2] for row in faults.FAULTS], ids=IDS)
def test_no_other_check_catches_it(method, check):
    """The matrix, method by check: exactly one fails, but for the methods that `ALSO` explains."""
    failed = [name for name in CHECKS if verdict(method, name).state == "failed"]
    assert check in failed
    assert failed == [check] or method in faults.ALSO


def test_every_check_has_a_fault_that_only_it_catches():
    assert {check for method, check, _ in faults.FAULTS if method not in faults.ALSO} == set(CHECKS)


# --- what the verdicts say ----------------------------------------------------------------------------------------


def test_every_check_says_what_it_means():
    for check in CHECKS.values():
        sentence = testing.meaning(check)
        assert sentence.endswith(".")
        assert "\n" not in sentence


class Breaks(faults.Sound):
    def loss(self, batch):
        raise KeyError("head")


def test_an_exception_of_the_method_is_a_verdict_with_its_line():
    (verdict,) = testing.judge(Breaks, {"quiet": CHECKS["quiet"]})
    assert verdict.state == "failed"
    assert verdict.found == "KeyError: 'head'"
    assert verdict.hint.startswith("Look at test_testing.py, line ")
    assert verdict.hint.endswith('raise KeyError("head")')


def test_a_failed_check_does_not_stop_the_others():
    names = ["api_version", "described"]
    result = list(testing.judge(faults.NoVersion, {name: CHECKS[name] for name in names}))
    assert [(verdict.check, verdict.state) for verdict in result] == [("api_version", "failed"), ("described", "ok")]


# --- machines -----------------------------------------------------------------------------------------------------


class ReadsValues(faults.Sound):
    def loss(self, batch):
        total = super().loss(batch).total
        return Loss(total if total.item() > -1 else -total)


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_the_check_is_skipped_and_says_why():
    (simulated, blind) = (
        next(testing.judge(method, {"accelerator": CHECKS["accelerator"]})) for method in (faults.Sound, ReadsValues)
    )
    assert (simulated.state, blind.state) == ("skipped", "skipped")
    assert simulated.found == "no GPU here; with a simulated one nothing was left on the CPU"
    assert blind.found.startswith("no GPU here, and a simulated one cannot follow this loss (")


def test_nothing_is_started_for_a_method_that_does_not_communicate(monkeypatch):
    monkeypatch.setattr(machines, "_processes", None)
    CHECKS["two_processes"](faults.Sound)
    with pytest.raises(TypeError):
        CHECKS["two_processes"](faults.Gathers)


class GathersNoise(faults.Gathers):
    def loss(self, batch):
        return Loss(super().loss(batch).total + torch.rand(()))


class NotAtTop:
    class Gathers(faults.Gathers):
        pass


@pytest.mark.parametrize(
    ("method", "output"), [(GathersNoise, "draws random numbers"), (NotAtTop.Gathers, "cannot import this class")]
)
def test_two_processes_that_cannot_be_compared_are_skipped(method, output):
    (verdict,) = testing.judge(method, {"two_processes": CHECKS["two_processes"]})
    assert verdict.state == "skipped"
    assert output in verdict.found


class OneFails(faults.Gathers):
    """Counts on the whole batch."""

    def loss(self, batch):
        if len(batch.index) != 16:
            raise RuntimeError("16 images or none")
        return super().loss(batch)


class OneHangs(faults.Gathers):
    """The second process never comes to the gather."""

    def loss(self, batch):
        if int(batch.index[0]) >= 8:
            time.sleep(600)
        return super().loss(batch)


def copied(work: Callable[..., None], *values: object) -> Child:
    """As `base.child.start`, as a copy of this process: a start takes 4 s, and the first two were started."""
    ours, theirs = multiprocessing.Pipe()
    process = fork(alone, work, theirs, *values, daemon=True)
    theirs.close()
    return Child(process, ours)


def alone(work: Callable[..., None], pipe: Connection, *values: object) -> None:
    """Work without the other files of the test's process, on whose end somebody may wait."""
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number != pipe.fileno():
            with contextlib.suppress(OSError):
                os.close(number)
    work(pipe, *values)


@pytest.mark.slow
def test_processes_are_ended_when_one_hangs_and_the_next_method_gets_new_ones(monkeypatch):
    CHECKS["two_processes"](faults.Gathers)
    before = machines._processes()
    monkeypatch.setattr(machines, "PATIENCE", 3.0)
    with pytest.raises(testing.CheckFailed, match=r"not done after 3\.0 s"):
        machines._run(f"{__name__}:OneHangs", "float64")
    assert [child.process.exitcode for child in before] == [-signal.SIGKILL] * 2
    monkeypatch.undo()
    monkeypatch.setattr(machines, "start", copied)
    with pytest.raises(testing.CheckFailed, match=r"one of two processes failed: .*16 images or none"):
        CHECKS["two_processes"](OneFails)  # the words of a new one


def test_a_method_without_a_recipe_sees_the_image():
    assert PretextMethod.recipe(MethodParams(), 32) == Recipe()
