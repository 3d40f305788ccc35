"""The spool of a training: each step once, whatever is killed. No MLflow."""

from pathlib import Path

from pretextbench.track import Record, spool
from pretextbench.track.spool import Spool


def points(folder: Path) -> list[tuple[str, int, float, float]]:
    return spool.read(folder).points


def test_a_step_that_is_trained_twice_is_written_once(tmp_path: Path) -> None:
    first = Spool(tmp_path / "x")
    first.begin(Record("training-1", "x"))
    for step in (1, 2, 3):
        first.values(step, step / 2, {"train/loss": float(step)})
    again = Spool(tmp_path / "x")  # killed, and goes on from step 1
    again.begin(Record("training-1", "x"))
    for step in (2, 3, 4):
        again.values(step, step / 3, {"train/loss": float(step)})
    assert points(tmp_path / "x") == [
        ("train/loss", s, t, float(s)) for s, t in ((1, 0.5), (2, 1), (3, 1.5), (4, 4 / 3))
    ]


def test_a_line_that_a_kill_has_torn_costs_that_line(tmp_path: Path) -> None:
    one = Spool(tmp_path / "x")
    one.begin(Record("training-1", "x"))
    one.values(1, 1.0, {"a": 1.0})
    with one.file.open("ab") as stream:
        stream.write(b'{"step": 2, "seco')
    assert [point[1] for point in points(tmp_path / "x")] == [1]
    again = Spool(tmp_path / "x")
    again.begin(Record("training-1", "x"))
    again.values(2, 2.0, {"a": 2.0})
    assert [point[1] for point in points(tmp_path / "x")] == [1, 2]


def test_another_training_takes_the_place_of_one_that_was_given_up_and_names_it(tmp_path: Path) -> None:
    one = Spool(tmp_path / "x")
    one.begin(Record("training-1", "x"))
    one.values(1, 1.0, {"a": 1.0})
    Spool(tmp_path / "x").begin(Record("training-2", "x"))
    content = spool.read(tmp_path / "x")
    assert (content.key, content.points) == ("training-2", [])
    assert content.begin is not None
    assert content.begin["instead"] == "training-1"


def test_the_same_training_once_more_starts_a_new_file(tmp_path: Path) -> None:
    one = Spool(tmp_path / "x")
    one.begin(Record("training-1", "x"))
    one.values(1, 1.0, {"a": 1.0})
    one.end()
    Spool(tmp_path / "x").begin(Record("training-1", "x"))
    content = spool.read(tmp_path / "x")
    assert (content.points, content.finished) == ([], False)
    assert content.begin is not None
    assert content.begin["instead"] is None


def test_the_last_notes_stand_and_a_failure_is_recorded(tmp_path: Path) -> None:
    one = Spool(tmp_path / "x")
    one.begin(Record("training-1", "x"))
    one.notes(["a", "b"])
    one.notes(["b"])
    one.failed("diverged")
    content = spool.read(tmp_path / "x")
    assert (content.notes, content.failed) == (["b"], "diverged")
    assert spool.read(tmp_path / "nothing").key is None
