"""The whole pipeline as a user runs it: DVC, Prefect and MLflow, with a method that lives in a distribution of its own.

The method is the one that `pretextbench new` writes, as it writes it.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pretextbench.errors import UserError
from tests import training_here
from tests.checkout import PATIENCE, TINY, Project, checkout, copied, stages_of_the_first_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished comparison, which the tests below change one after the other.

    Its stages have no flow of Prefect's, which takes seconds of each: some of the finished comparison had.
    """
    made = copied(finished, tmp_path_factory.mktemp("project") / "copy")
    made.env["PRETEXTBENCH_RECORDED"] = "1"
    return made


def test_a_method_from_elsewhere_is_ranked_by_name_alone(finished: Project, project: Project) -> None:
    assert set(stages_of_the_first_run(finished)) == {
        "inventory",
        "prepare",
        "audit",
        "transfer",
        "views",
        "tune@mean-colour",
        "augment@mean-colour",
        "augment-control@random",
        "pretrain@mean-colour-0",
        "pretrain-control@random-0",
        "evaluate@mean-colour-0",
        "evaluate-control@random-0",
        "compare",
    }
    board = (project.root / "reports/leaderboard.csv").read_text()
    assert {line.split(",")[0] for line in board.splitlines()[1:]} == {"mean-colour", "random"}
    assert "mean-colour" in (project.root / "reports/recommendation.md").read_text()
    page = (project.root / "reports/report.html").read_text()
    for part in (
        "Leaderboard",
        "Robustness",
        "Maps of the features",
        "The methods at work",
        "Leak audit",
        "params.yaml",
    ):
        assert part in page, part


def test_a_second_run_runs_nothing_but_the_inventory(project: Project) -> None:
    assert project.repro() == ["inventory"]
    assert project.run("dvc", "status").returncode == 0


def test_another_machine_pulls_a_finished_comparison_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    """A second checkout gets dvc.lock and, by a remote, every output: the inventory runs, and the report is there."""
    there = checkout(tmp_path / "there", Path(project.env["PYTHONPATH"]))
    there.env["PRETEXTBENCH_RECORDED"] = "1"  # as in `project`
    shutil.copy(project.root / "dvc.lock", there.root)
    name = ("remote", "add", "--local", "shared", str(tmp_path / "remote"))
    for where, words in (
        (project, name),
        (project, ("push", "--remote", "shared")),
        (there, ("pull", "--remote", "shared")),
    ):
        if words[0] == "pull":
            shutil.copy(project.root / ".dvc/config.local", there.root / ".dvc")
        done = where.run("dvc", *words)
        assert done.returncode == 0, done.stderr
    assert there.repro() == ["inventory"]
    assert there.run("dvc", "status").stdout.strip() == "inventory:\n\talways changed"
    reports = contents(project.root / "reports")
    assert "metrics/mean-colour.json" in reports
    assert len(reports["report.html"]) > 100_000
    assert contents(there.root / "reports") == reports


def test_a_stage_that_trains_is_a_flow_run(project: Project) -> None:
    with closing(sqlite3.connect(project.root / ".prefect/prefect.db")) as server:
        runs = dict(server.execute("select name, state_type from flow_run").fetchall())
    assert runs == {name: "COMPLETED" for name in ("prepare", "augment mean-colour", "pretrain mean-colour-0")}


def test_the_record_has_the_numbers_of_the_encoder_and_names_its_plugin(project: Project) -> None:
    """That its model opens, in a fresh process: tests/test_docs_commands.py and tests/track/test_store.py."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        ids = dict(store.execute("select name, run_uuid from runs").fetchall())
        parents = store.execute("select run_uuid from tags where key = 'kind' and value = 'comparison'").fetchall()
        (own,) = ((ids["mean-colour-0"],),)
        metrics = {key for (key,) in store.execute("select key from latest_metrics where run_uuid = ?", own)}
        tags = dict(store.execute("select key, value from tags where run_uuid = ?", own).fetchall())
    assert {"Training/Loss", "Linear probe accuracy", "k-NN accuracy", "Pretraining seconds"} <= metrics
    assert tags["plugin"] == "pretext-mean-colour==0.1.0"
    assert [(tags["mlflow.parentRunId"],)] == parents


def cached(project: Project) -> set[Path]:
    """The objects in DVC's cache."""
    return {path for path in (project.root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}


def test_editing_a_methods_source_makes_that_method_and_the_comparison_stale(project: Project) -> None:
    site, methods = Path(project.env["PYTHONPATH"]) / "pretext_mean_colour.py", project.root / "runs/methods.json"
    source, before = site.read_text(), methods.read_bytes()
    site.write_text(source + "# an edit that changes nothing\n")
    edited = stale(project)
    assert edited >= {"tune@mean-colour", "augment@mean-colour", "pretrain@mean-colour-0"}
    assert not [stage for stage in edited if "random" in stage or stage == "prepare"]
    site.write_text(source)
    training_here.stage(project, "inventory")
    assert methods.read_bytes() == before, "all is current again"


def stale(project: Project) -> set[str]:
    """The stages that a run would run, after a new inventory."""
    training_here.stage(project, "inventory")
    return left_to_run(project)


def left_to_run(project: Project) -> set[str]:
    return set(json.loads(project.run("dvc", "status", "--json").stdout)) - {"inventory"}


def test_an_edited_parameter_reruns_its_method_and_a_kill_before_the_commit_costs_no_training(project: Project) -> None:
    project.write_params(TINY.replace("crop_min: 0.5", "crop_min: 0.9"))
    before, output = cached(project), project.root / "runs/pretrain/mean-colour-0"
    first = {"tune@mean-colour", "augment@mean-colour", "pretrain@mean-colour-0"}
    assert stale(project) == first  # what follows is known when these ran
    made = killed_when_trained(project)
    assert "crop_min: 0.9" in (project.root / "dvc.lock").read_text()  # of augment
    ran = project.repro("evaluate@mean-colour-0")
    assert set(ran) >= {"inventory", "pretrain@mean-colour-0", "evaluate@mean-colour-0"}
    assert not [stage for stage in ran if "random" in stage]
    assert contents(output) == made  # its seconds too
    assert not list((project.root / ".scratch/pretrain/mean-colour-0").glob("*/*")), "evaluated, so committed"

    after = cached(project)
    assert len(after - before) >= 4
    assert before <= after, "nothing is removed by itself"
    assert project.run("dvc", "gc", "--workspace", "--force").returncode == 0
    assert after - before < cached(project) < after
    assert left_to_run(project) == {"compare"}


def test_a_training_that_is_asked_for_again_trains_again(project: Project) -> None:
    """As by `dvc repro --force`, after which the stage starts with its last training committed."""
    card = project.root / "runs/pretrain/mean-colour-0/encoder.json"
    first = json.loads(card.read_text())
    training_here.stage(project, "pretrain", "mean-colour", "0")
    second = json.loads(card.read_text())
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["seconds"] != second["seconds"], "not trained"


def killed_when_trained(project: Project) -> dict[str, bytes]:
    """Kill `dvc repro` and its stage between the last step and the commit; returns the files of the training."""
    scratch, command = project.root / ".scratch/pretrain/mean-colour-0", [sys.executable, "-m", "dvc", "repro"]
    repro = subprocess.Popen(
        command, cwd=project.root, env=project.env, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + PATIENCE
        while not list(scratch.glob("*/finished")):
            assert repro.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        os.killpg(repro.pid, signal.SIGKILL)
        repro.wait()
    (kept,) = scratch.glob("*/finished")
    return contents(kept)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TWO = TINY.replace("images: 64,", "images: 64, devices: 2, accelerator: cpu,").replace("crop_min: 0.5", "crop_min: 0.9")


def test_two_devices_have_nothing_to_do_for_a_control_that_does_not_train(project: Project) -> None:
    project.settle(TWO)
    card = project.root / "runs/pretrain/random-0/encoder.json"
    card.unlink()
    training_here.train(project, "random", copies=True)
    assert json.loads(card.read_text())["images_seen"] == 0


def test_a_mistake_in_a_process_of_two_is_one_message(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.settle(TWO.replace("batch_size: 16", "batch_size: 15"))
    with pytest.raises(UserError, match=r"^A batch of 15 images does not divide into 2 equal parts"):
        training_here.train(project, "mean-colour", copies=True)
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert "does not divide" not in written, "the stage prints the message"
    project.settle(TINY.replace("crop_min: 0.5", "crop_min: 0.9"))


MISTAKES = {
    "unknown-key": (
        TINY.replace("crop_min", "crop_mim"),
        "methods.mean-colour.crop_mim: unknown key. Did you mean 'crop_min'?",
    ),
    "range": (TINY.replace("crop_min: 0.5", "crop_min: 2"), "crop_min: Input should be less than or equal"),
    "type": (TINY.replace("images: 64", "images: -1"), "pretrain.images: Input should be greater than 0 (found -1)"),
    "missing-folder": (TINY.replace("prepare: {", "prepare: {source: folder, path: nowhere, "), "nowhere"),
}


def test_a_users_mistake_is_one_message_and_costs_nothing(project: Project) -> None:
    """As `dvc repro` shows it. It starts the inventory, and nothing after a failure."""
    wrong, message = MISTAKES["unknown-key"]
    before = (project.root / "reports/leaderboard.csv").read_bytes()
    project.write_params(wrong)
    done = project.run("dvc", "repro")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (project.root / "reports/leaderboard.csv").read_bytes() == before


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_first_stages_refuse_every_mistake(project: Project, mistake: str) -> None:
    wrong, message = MISTAKES[mistake]
    project.write_params(wrong)
    before = contents(project.root / "reports"), contents(project.root / "data/prepared/images")
    with pytest.raises(UserError, match=re.escape(message)):
        training_here.first_stages(project)
    assert (contents(project.root / "reports"), contents(project.root / "data/prepared/images")) == before
