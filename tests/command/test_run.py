"""`run` becomes the project's own flow: its words, its folder, its exit status, and one Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command.conftest import Type

FLOW = "import sys, time\nprint(sys.argv[1:], flush=True)\n"


HANDED = pytest.mark.parametrize(
    ("command_words", "handed"),
    [
        ([], []),
        (["--jobs", "3", "--retries", "0"], ["--jobs", "3", "--retries", "0"]),
        (["pretrain@simclr-0", "compare"], ["--", "pretrain@simclr-0", "compare"]),
        (["--only", "simclr", "--dry-run"], ["--only", "simclr", "--dry-run"]),
        (["--dask", "local", "compare"], ["--dask", "local", "--", "compare"]),
        (["--methods", "simclr,rotation", "compare"], ["--methods", "simclr,rotation", "--", "compare"]),
        (["--remote", "shared"], ["--remote", "shared"]),
        (["--jobs", "1", "--", "-odd"], ["--jobs", "1", "--", "-odd"]),
    ],
)


@HANDED
def test_options_and_targets_are_handed_on(
    command_words: list[str], handed: list[str], project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("os.execv", lambda program, argv: seen.append((program, argv)))
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert typed("run", *command_words).code == 0
    assert seen == [(sys.executable, [sys.executable, "-m", "pipelines.run", *handed])]
    assert Path.cwd() == project


@HANDED
def test_the_flow_understands_what_it_is_handed(command_words: list[str], handed: list[str]) -> None:
    from pretextbench.project.run_options import arguments

    read = arguments(handed)
    assert [read.targets, read.only, read.methods] == [
        handed[handed.index("--") + 1 :] if "--" in handed else [],
        "simclr" if "--only" in handed else None,
        ["simclr", "rotation"] if "--methods" in handed else [],
    ]


def begin(project: Path, flow: str, *command_words: str) -> "subprocess.Popen[str]":
    """A real process, in a project whose flow is `flow`."""
    (project / "pipelines" / "run.py").write_text(FLOW + flow)
    command = [sys.executable, "-m", "pretextbench.command", "run", *command_words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project)


def test_its_exit_status_is_ours(project: Path) -> None:
    process = begin(project, "sys.exit(7)", "compare")
    assert process.communicate(timeout=60)[0] == "['--', 'compare']\n"
    assert process.returncode == 7


def test_ctrl_c_reaches_it_once_and_it_alone(project: Path) -> None:
    """The process that was started is the flow itself: nobody stands between who could say or do something too."""
    count = (
        "came = []\nimport signal\nsignal.signal(signal.SIGINT, lambda *_: came.append(1))\nprint('up', flush=True)\n"
    )
    wait = "end = time.monotonic() + 30\nwhile not came and time.monotonic() < end: time.sleep(0.05)\n"
    process = begin(project, count + wait + "time.sleep(0.3)\nprint(came)\nsys.exit(130)")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["[]\n", "up\n"]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("[1]\n", "")
    assert process.returncode == 130


def test_outside_a_project(tmp_path: Path, typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = typed("run")
    assert result.code == 2
    assert "is not inside a project" in result.message


@pytest.mark.parametrize("term", ["run", "ui"])
@pytest.mark.usefixtures("project")
def test_without_the_packages_of_the_pipeline_one_message(
    term: str, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretextbench.project.environment._installed", lambda name: name == "prefect")
    monkeypatch.setattr("os.execv", lambda program, argv: pytest.fail("it must not start"))
    result = typed(term)
    assert result.code == 2
    assert result.message.startswith("The pipeline needs dvc, fastapi, mlflow, not installed for ")
    assert "`uv sync`" in result.message
