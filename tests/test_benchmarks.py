"""The benchmark harness: ratios within rounds, bars, a row that cannot run, results that replace their own row only."""

import json

import pytest

from benchmarks import __main__ as suite
from benchmarks import harness, loops
from benchmarks.harness import Measure, Missing
from pretextbench.train.batches import Batches


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)


def rows(monkeypatch, **measures):
    """Rows that need no machine: name -> its `measure`."""
    modules = {f"benchmarks.rows.{name}": type("Row", (), {"measure": staticmethod(m)}) for name, m in measures.items()}
    monkeypatch.setattr(suite.importlib, "import_module", modules.__getitem__)


def test_contestants_take_turns_after_a_round_to_warm_up():
    calls = []
    times = harness.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert {name: len(column) for name, column in times.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_taken_within_rounds():
    """A machine that becomes ten times slower in the second half changes no ratio."""
    bottom = [1.0, 1.0, 1.0, 10.0, 10.0, 10.0]
    result = harness.ratio("x", [2 * b for b in bottom], bottom, "times y")
    assert (result.value, result.low, result.high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("bar", "says"),
    [
        ({"at_least": 2.0}, "NOT met"),
        ({"at_least": 1.5}, ": met"),
        ({"at_most": 1.0}, "NOT met"),
        ({"at_most": 2.0}, ": met"),
    ],
)
def test_a_bar_says_whether_it_is_met(bar, says):
    assert says in Measure("x", 1.5, "times", **bar).bar


def test_a_row_that_cannot_run_says_why_and_the_rest_runs(monkeypatch, capsys):
    def absent(rounds):
        yield Measure("before", 1.0, "s")
        raise Missing("no GPU")

    rows(monkeypatch, absent=absent, there=lambda rounds: iter([Measure("here", float(rounds), "s")]))
    assert suite.measure_row("absent", 2, "command")
    assert suite.measure_row("there", 2, "command")
    messages = capsys.readouterr().out
    assert "missing: no GPU" in messages
    assert "here" in messages


def test_a_row_that_breaks_is_told_by_the_exit_status(monkeypatch, capsys):
    def broken(rounds):
        raise ValueError("a fault")
        yield

    rows(monkeypatch, broken=broken)
    assert not suite.measure_row("broken", 1, "command")
    assert "a fault" in capsys.readouterr().err


def test_a_row_replaces_its_own_results_only(tmp_path):
    harness.save("one", "c", 0.0, [Measure("x", 1.0, "s")])
    harness.save("two", "c", 0.0, [Measure("y", 2.0, "s")])
    path = harness.save("one", "c", 0.0, [Measure("x", 3.0, "s", at_most=2.0)])
    result = json.loads(path.read_text())["rows"]
    assert result["one"]["measures"][0]["value"] == 3.0
    assert result["two"]["measures"][0]["value"] == 2.0
    assert "NOT met" in path.with_suffix(".md").read_text()


def test_an_unknown_row_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "throughputt"])
    with pytest.raises(SystemExit):
        suite.main()
    assert "throughputt" in capsys.readouterr().err


def test_the_loop_of_the_rows_is_the_one_of_the_product():
    """The bare networks and the clocked step call a method as the training does."""
    case = loops.Case("rotation", width=4, size=8, batch=8)
    images = loops.pixels(case, 16)
    run = loops.training(case, images)
    data = Batches(images, run.fabric.device, "auto")
    for work in (loops.looped(run, data, 1), loops.networks(run, 8, 1), loops.augmentation(run, data, 1)):
        work()
    assert loops.passed(run) == 4 * 8
    loops.encoder_alone(run, 32, 1)()
    assert loops.shares(run, data, 1)["backward"] > 0
