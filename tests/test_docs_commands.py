"""Every command that README and guides show is run by a test.

The commands of the README run here, in a small comparison; those of a guide in the test file of that guide.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pretextbench import command
from tests.checkout import PROJECT, Project, copied
from tests.command.photographs import classes

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)  # language, text
SHELLS = ("", "console", "bash", "sh")
COMMAND = re.compile(r"^(?:\$ )?((?:uv|pretextbench|dvc|mlflow|pip|python|torchrun|prefect|dask)\s.+)$", re.M)
GUIDES = {  # page -> the tests that run what it shows
    "own-images.md": "tests/command/test_own_images.py",
    "use-an-encoder.md": "tests/command/test_use_an_encoder.py",
    "tutorial.md": "tests/command/test_tutorial.py",
    "write-a-method.md": "tests/test_guide.py",
}
ELSEWHERE = {  # what other pages show -> the test that runs it, with addresses and names of its own
    "uv run pretextbench ui": "tests/command/test_ui.py::test_mlflow_really_answers_and_ends_with_ctrl_c",
    "uv run python -m pretextbench.track . --replay": "tests/track/test_outage.py::test_recorders_and_replays_at_once",
    "uv run python -m pipelines.run --jobs 4": "tests/pipelines/test_graph.py::test_branches_run_side_by_side",
    "uv run dvc repro": "tests/test_pipeline.py::test_a_second_run_runs_nothing_but_the_inventory",
    "uv run python -m stages.agent simclr 0": "tests/stages/test_agent.py::test_two_nodes_are_two_devices",
    "uv sync --extra dask": "tests/pipelines/test_dask.py::test_without_the_extra_one_message",
    "uv run python -m pipelines.run --dask --jobs 4": "tests/pipelines/test_dask.py::test_branches_run_side_by_side",
    "uv run python -m dask scheduler --host 127.0.0.1 --port 8786": "tests/pipelines/test_dask.py::test_a_cluster",
    "uv run python -m dask worker tcp://127.0.0.1:8786 --nthreads 1": "tests/pipelines/test_dask.py::test_a_cluster",
    "uv run dvc remote add --default shared s3://bucket/path": "tests/test_pipeline.py::test_another_machine_pulls",
    "uv run dvc push --remote shared": "tests/test_pipeline.py::test_another_machine_pulls",
    "uv run dvc pull --remote shared": "tests/test_pipeline.py::test_another_machine_pulls",
    "uv run prefect server start --host 127.0.0.1 --port 4200": "tests/pipelines/test_deployment.py::"
    "test_a_worker_runs",
    "uv run prefect work-pool create pretextbench --type process": "tests/pipelines/test_deployment.py::"
    "test_a_worker_runs",
    "uv run prefect deploy --all": "tests/pipelines/test_deployment.py::test_a_worker_runs",
    "uv run prefect worker start --pool pretextbench": "tests/pipelines/test_deployment.py::test_a_worker_runs",
    "uv run prefect deployment run comparison/graph --watch --param jobs=2": "tests/pipelines/test_deployment.py::"
    "test_a_worker_runs",
    "uv run mlflow server --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///server.db "
    "--artifacts-destination ./artifacts": "tests/track/test_outage.py::test_a_server_that_goes_and_comes",
}
README = {  # as shown, in order -> as run here; None: where it is run instead is said below
    "pip install uv && uv run dvc repro": "dvc repro",
    "uv run pretextbench run": "pretextbench run",
    "uv run pretextbench report": "pretextbench report",
    "uv run pretextbench embed best ~/photos -o features.parquet": "pretextbench embed best ~/photos -o features.parquet",  # noqa: E501
    "uv run pretextbench export best --to onnx -o encoder.onnx": "pretextbench export best --to onnx -o encoder.onnx",
    "uv run pretextbench init --images ~/photos": "pretextbench init --images ~/photos --no-measure --force",
    "uv run pretextbench new my-method": None,  # docs/write-a-method.md: installs, and changes the project
    "uv run pretextbench check my-method": None,
    "uv run pretextbench ui": None,  # tests/command/test_ui.py: serves until it is stopped
    "uv run pytest": None,  # .ci/run
}
PROCESSES = {("dvc", "repro"), ("pretextbench", "run")}  # they start stages


def shown(page: Path) -> list[str]:
    """The commands in the shell blocks of a page, in order, without comments and repeated spaces."""
    blocks = [text for language, text in BLOCK.findall(page.read_text()) if language in SHELLS]
    commands = [command for block in blocks for command in COMMAND.findall(block)]
    whole = [" ".join(command.split(" #")[0].split()) for command in commands]
    return [command for command in whole if not re.search(r"\[|\b[A-Z]{4,}\b", command)]  # those are synopses


def test_every_command_of_the_readme_is_known() -> None:
    assert set(shown(PROJECT / "README.md")) == set(README)


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_commands_of_a_guide_are_run_by_tests(page: Path) -> None:
    if page.name in GUIDES:
        assert page.name in (PROJECT / GUIDES[page.name]).read_text()
    else:
        assert [command for command in shown(page) if command not in {**ELSEWHERE, **README}] == []


@pytest.mark.parametrize("node", sorted(set(ELSEWHERE.values())))
def test_the_tests_named_are_there(node: str) -> None:
    path, _, name = node.partition("::")
    assert f"def {name}" in (PROJECT / path).read_text()


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A finished comparison beside a folder of photos; the first `dvc repro` of the README was its making."""
    made = copied(finished, tmp_path / "home")
    classes(made.root.parent / "photos")
    made.env |= {"HOME": str(made.root.parent), "BROWSER": "true"}
    return made


@pytest.mark.slow
def test_the_commands_of_the_readme_do_what_they_say(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.syspath_prepend(project.env["PYTHONPATH"])
    monkeypatch.setitem(sys.modules, "pretext_mean_colour", None)  # so that the import below is forgotten at the end
    del sys.modules["pretext_mean_colour"]
    for name in project.env.keys() - os.environ.keys() | {"PATH", "HOME", "BROWSER", "PYTHONPATH"}:
        monkeypatch.setenv(name, project.env[name])
    for typed in filter(None, README.values()):
        program, *arguments = [
            str(project.root.parent / term[2:]) if term.startswith("~/") else term for term in shlex.split(typed)
        ]
        if (program, *arguments[:1]) in PROCESSES:
            code = subprocess.run([program, *arguments], env=project.env, timeout=500).returncode
        else:  # in this process, which has torch: the function of the entry point
            code = command.main(arguments)
        out, err = capfd.readouterr()
        assert code == 0, (typed, out[-2000:], err[-2000:])
    made = {path.name for path in project.root.iterdir()}
    assert {"features.parquet", "encoder.onnx", "params.yaml.bak"} <= made
    assert opened_from_the_record(project) < 1e-5


def opened_from_the_record(project: Project) -> float:
    """How far the recommended encoder, loaded as docs/record.md says, is from the one in the folder."""
    block = re.search(r"^```python\n(.*?)^```", (PROJECT / "docs/record.md").read_text(), re.S | re.M)
    assert block
    code = f"""
import numpy, torch, pathlib
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.train import encoder_folder
images = numpy.random.default_rng(0).random((3, 3, 32, 32), dtype=numpy.float32)
{block[1].replace("flowers", project.root.name)}
encoder, _ = encoder_folder.load(pathlib.Path("runs/pretrain/mean-colour-0"))
encoder = LayerFeatures(encoder, embed.metadata.metadata["layer"])
with torch.no_grad():
    print(float(numpy.abs(features - encoder(torch.from_numpy(images)).numpy()).max()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=project.env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.splitlines()[-1])
