"""The whole pipeline as a user runs it: DVC, Prefect and MLflow, with a method that lives in a distribution of its own.

The method is the one that `pretextbench new` writes, as it writes it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkout import TINY, Project, checkout, copied, stages_of_the_first_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished comparison, which the tests below change one after the other.

    Its stages have no flow of Prefect's, which takes seconds of each: those of the finished comparison had.
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
    shutil.copy(project.root / "dvc.lock", there.root)
    for where, verb in ((project, "push"), (there, "pull")):
        for words in (["remote", "add", "--local", "shared", str(tmp_path / "remote")], [verb, "--remote", "shared"]):
            done = where.run("dvc", *words)
            assert done.returncode == 0, done.stderr
    assert there.repro() == ["inventory"]
    assert there.run("dvc", "status").stdout.strip() == "inventory:\n\talways changed"
    reports = {path.name: path.read_bytes() for path in (project.root / "reports").iterdir()}
    assert len(reports["report.html"]) > 100_000
    assert {path.name: path.read_bytes() for path in (there.root / "reports").iterdir()} == reports


def test_the_encoder_opens_from_mlflow_in_a_fresh_process(project: Project) -> None:
    code = (
        "import mlflow, torch, json\n"
        "from pretextbench.train import encoder_folder\nfrom pathlib import Path\n"
        f"mlflow.set_tracking_uri('sqlite:///{project.root / 'mlflow.db'}')\n"
        "runs = mlflow.search_runs(search_all_experiments=True, output_format='list')\n"
        "run = next(r for r in runs if r.info.run_name == 'mean-colour-0')\n"
        "parent = next(r for r in runs if r.data.tags.get('kind') == 'comparison')\n"
        "mine = f\"source_run_id='{run.info.run_id}'\"\n"
        "model = mlflow.search_logged_models([run.info.experiment_id], mine, output_format='list')[0]\n"
        "there = mlflow.pytorch.load_model(model.model_uri)\n"
        "here, _ = encoder_folder.load(Path('runs/pretrain/mean-colour-0'))\n"
        "from pretextbench.evaluate.features import LayerFeatures\n"
        "here = LayerFeatures(here, model.tags['layer'])\n"
        "x = torch.rand(3, 3, 32, 32)\n"
        "gap = float((there(x) - here(x)).abs().max().detach())\n"
        "print(json.dumps({'gap': gap, 'metrics': sorted(run.data.metrics), 'tags': run.data.tags,"
        " 'parent': parent.info.run_id}))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project.root, env=project.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["gap"] < 1e-5
    assert {"train/loss", "linear", "knn"} <= set(told["metrics"])
    assert told["tags"]["plugin"] == "pretext-mean-colour==0.1.0"
    assert told["tags"]["mlflow.parentRunId"] == told["parent"]


def cached(project: Project) -> set[Path]:
    """The objects in DVC's cache."""
    return {path for path in (project.root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}


def test_editing_a_methods_source_makes_that_method_and_the_comparison_stale(project: Project) -> None:
    site = Path(project.env["PYTHONPATH"]) / "pretext_mean_colour.py"
    source = site.read_text()
    site.write_text(source + "# an edit that changes nothing\n")
    assert stale(project) >= {"augment@mean-colour", "pretrain@mean-colour-0"}
    assert not [stage for stage in stale(project) if "random" in stage or stage == "prepare"]
    site.write_text(source)
    assert stale(project) == set()


def stale(project: Project) -> set[str]:
    """The stages that a run would run, after a new inventory."""
    done = project.run("dvc", "repro", "inventory")
    assert done.returncode == 0, done.stderr[-2000:]
    return set(json.loads(project.run("dvc", "status", "--json").stdout)) - {"inventory"}


def test_an_edited_parameter_reruns_its_method_and_a_kill_before_the_commit_costs_no_training(project: Project) -> None:
    project.write_params(TINY.replace("crop_min: 0.5", "crop_min: 0.9"))
    before, output = cached(project), project.root / "runs/pretrain/mean-colour-0"
    assert stale(project) == {"augment@mean-colour", "pretrain@mean-colour-0"}  # what follows is known when these ran
    made = killed_when_trained(project)
    assert "crop_min: 0.9" in (project.root / "dvc.lock").read_text()  # of augment
    assert set(project.repro()) == {"inventory", "pretrain@mean-colour-0", "evaluate@mean-colour-0", "compare"}
    assert contents(output) == made  # its seconds too
    assert not list((project.root / ".scratch/pretrain/mean-colour-0").glob("*/*")), "evaluated, so committed"

    after = cached(project)
    assert len(after - before) >= 4
    assert before <= after, "nothing is removed by itself"
    assert project.run("dvc", "gc", "--workspace", "--force").returncode == 0
    assert after - before < cached(project) < after
    assert project.run("dvc", "status").stdout.strip() == "inventory:\n\talways changed"


def test_a_training_that_is_asked_for_again_trains_again(project: Project) -> None:
    card = project.root / "runs/pretrain/mean-colour-0/encoder.json"
    first = json.loads(card.read_text())
    done = project.run("dvc", "repro", "--force", "--single-item", "pretrain@mean-colour-0")
    assert done.returncode == 0, done.stderr[-2000:]
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
        end = time.monotonic() + 120
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
    return {path.name: path.read_bytes() for path in folder.iterdir()}


TWO = TINY.replace("images: 64,", "images: 64, devices: 2, accelerator: cpu,").replace("crop_min: 0.5", "crop_min: 0.9")


def test_two_devices_have_nothing_to_do_for_a_control_that_does_not_train(project: Project) -> None:
    project.settle(TWO)
    done = project.run("stages", "pretrain", "random", "0")
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_mistake_in_a_process_of_two_is_one_message(project: Project) -> None:
    project.settle(TWO.replace("batch_size: 16", "batch_size: 15"))
    done = project.run("stages", "pretrain", "mean-colour", "0")
    assert done.returncode == 2
    assert "error: A batch of 15 images does not divide into 2 equal parts" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("does not divide") == 1
    project.settle(TINY.replace("crop_min: 0.5", "crop_min: 0.9"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (TINY.replace("crop_min", "crop_mim"), "methods.mean-colour.crop_mim: unknown key. Did you mean 'crop_min'?"),
        (TINY.replace("crop_min: 0.5", "crop_min: 2"), "crop_min: Input should be less than or equal"),
        (TINY.replace("images: 64", "images: -1"), "pretrain.images: Input should be greater than 0 (found -1)"),
        (TINY.replace("prepare: {", "prepare: {source: folder, path: nowhere, "), "nowhere"),
    ],
    ids=["unknown-key", "range", "type", "missing-folder"],
)
def test_a_users_mistake_is_one_message_and_costs_nothing(project: Project, wrong: str, said: str) -> None:
    before = (project.root / "reports/leaderboard.csv").read_bytes()
    project.write_params(wrong)
    done = project.run("dvc", "repro")
    project.write_params(TINY.replace("crop_min: 0.5", "crop_min: 0.9"))
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (project.root / "reports/leaderboard.csv").read_bytes() == before
