"""Start of a run: by its path with nothing activated, without its packages, interrupted, and its first line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipelines
import stages
from pipelines.run import FIRST
from pretextbench.errors import UserError
from pretextbench.project import environment
from tests.checkout import BARE
from tests.pipelines.conftest import CODE, Toy

RUN_STAGE = CODE / "stages" / "run.sh"


def test_the_python_of_the_command_is_first_on_the_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(Path(sys.executable).parent)
    for path in (BARE, f"{BARE}:{own}"):
        monkeypatch.setenv("PATH", path)
        pipelines.own_python_first()
        pipelines.own_python_first()
        assert os.environ["PATH"] == f"{own}:{path}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with stages/run.sh and a stage that prints its Python; and a Python that does not know this project."""
    (tmp_path / "stages").mkdir()
    shutil.copy(RUN_STAGE, tmp_path / "stages")
    (tmp_path / "stages" / "__main__.py").write_text("import sys\nprint(sys.executable, *sys.argv[1:])\n")
    return tmp_path


def linked(folder: Path, name: str) -> Path:
    """A program `name` in a new folder: a shell script that says so and starts this Python."""
    folder.mkdir()
    (folder / name).write_text(f'#!/bin/sh\necho {name}\nexec "{sys.executable}" "$@"\n')
    (folder / name).chmod(0o755)
    return folder


def test_a_stage_runs_with_the_python_of_the_dvc_that_starts_it(copy: Path) -> None:
    """DVC starts a shell, and nothing is activated: the search path has no Python of this project."""
    other = linked(copy / "bin", "python")  # activated, and of another project
    shells = ("sh stages/run.sh prepare 'a b'", "true; sh stages/run.sh prepare 'a b'; true")
    code = f"import subprocess\nfor line in {shells}: subprocess.run(['/bin/sh', '-c', line], check=True)"
    env = {"PATH": f"{other}:{BARE}", "HOME": str(copy)}
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, env=env, capture_output=True, text=True)
    assert done.stdout == f"{sys.executable} prepare a b\n" * 2, done.stderr


DEEP = 'if [ "$1" -gt 0 ]; then sh deep.sh $(($1 - 1)); else sh stages/run.sh prepare; fi; exit $?'


def far_from_python(copy: Path, *programs: Path) -> "subprocess.CompletedProcess[str]":
    """Run a stage below shells, so that no Python is near above it; these folders are the search path."""
    (copy / "deep.sh").write_text(DEEP)
    tools = copy / "tools"  # the programs that the script needs
    tools.mkdir()
    for name in ("sh", "tr", "head", "sed", "readlink"):
        (tools / name).symlink_to(str(shutil.which(name)))
    env = {"PATH": ":".join(map(str, [*programs, tools])), "HOME": str(copy)}
    return subprocess.run(["/bin/sh", "deep.sh", "3"], cwd=copy, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["python", "python3"])
def test_started_by_no_python_a_stage_takes_the_one_on_the_search_path(copy: Path, name: str) -> None:
    done = far_from_python(copy, linked(copy / "bin", name))
    assert done.stdout.splitlines()[:1] == [name], done.stderr


def test_without_any_python_the_message_says_what_to_do(copy: Path) -> None:
    done = far_from_python(copy)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no Python on the search path. Start with `uv run`")


def test_a_python_without_this_project_gives_way_or_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    monkeypatch.setattr(os, "execv", lambda program, arguments: became.append(arguments))
    monkeypatch.setattr(
        subprocess, "call", lambda arguments, **options: 0 if arguments[0] == "/somewhere/python3" else 1
    )
    with pytest.raises(SystemExit) as end:
        stages.change_python(["-m", "stages", "prepare"])
    assert became == [["/somewhere/python3", "-m", "stages", "prepare"]]
    assert end.value.code == 2  # where exec returns, as here, or no Python has the packages
    assert "lacks the packages of this project. Start with `uv run dvc repro`" in capsys.readouterr().err


@pytest.mark.slow
def test_the_run_and_its_stages_have_one_python(toy: Toy) -> None:
    """`/path/.venv/bin/python -m pipelines.run` with nothing activated, and a stage that says `python`."""
    project = toy("stages:\n  one:\n    cmd: python -c 'import sys; print(sys.executable)' > out\n    outs: [out]\n")
    env = {
        "PATH": BARE,
        "HOME": str(project),
        "PYTHONPATH": str(CODE),
        "PREFECT_API_URL": "http://me:secret@127.0.0.1:9/api",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.run"], cwd=project, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (project / "out").read_text().strip() == sys.executable
    assert "no server answers at http://***@127.0.0.1:9/api (PREFECT_API_URL)" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_without_the_extra_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.require_pipeline()
    installed = environment._installed
    monkeypatch.setattr(environment, "_installed", lambda name: name not in ("dvc", "mlflow") and installed(name))
    with pytest.raises(UserError, match=r"^The pipeline needs dvc, mlflow, not installed for .*`uv sync`"):
        environment.require_pipeline()


HIDE = """
import importlib.metadata, runpy, sys
real = importlib.metadata.version
def version(name):
    if name in ("dvc", "mlflow", "prefect"):
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
sys.modules |= dict.fromkeys(("dvc", "mlflow", "prefect"))
sys.argv = ["x", *sys.argv[2:]] if len(sys.argv) > 2 else ["x"]
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("arguments", [["pipelines.run"], ["pretextbench.track", ".", "--replay"]])
def test_every_entry_without_the_extra_ends_in_that_message(arguments: list[str], toy: Toy) -> None:
    project = toy("stages: {}\n")
    code = HIDE.replace("MODULE", repr(arguments[0]))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=project, env={**os.environ, "PYTHONPATH": str(CODE)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: The pipeline needs dvc, mlflow, prefect, not installed")
    assert "Traceback" not in done.stderr


# A module whose import takes long stands in for DVC, torch and the like.
SLOW = "import time\nopen('begun', 'w').close()\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (["pipelines.run"], "pipelines.graph_run"),
        (["pretextbench.command", "methods"], "pretextbench.command.application"),
        (["stages", "prepare"], "stages.start"),
    ],
)
def test_ctrl_c_during_the_start_is_one_message(arguments: list[str], slow: str, toy: Toy) -> None:
    project = toy("stages: {}\n")
    (project / "slow.py").write_text(SLOW)
    (project / "sitecustomize.py").write_text(FINDER.replace("SLOW", slow))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=project, env={**os.environ, "PYTHONPATH": f"{project}:{CODE}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (project / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert (out, err.splitlines()) == (f"{FIRST}\n" if arguments == ["pipelines.run"] else "", [err.strip()])
    assert err.startswith("error: stopped by Ctrl-C.")


ORDER = """
import sys
from pipelines import run
class Watched:
    def write(self, text):
        heavy = {"prefect", "dvc", "torch", "rich", "yaml", "pydantic", "networkx", "psutil"} & set(sys.modules)
        print(text.strip(), sorted(heavy), file=sys.stderr)
        sys.exit()
    def flush(self): pass
sys.stdout = Watched()
run.main(ARGUMENTS)
"""


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["--only", "simclr", "--jobs", "2"]])
def test_the_first_line_is_shown_before_anything_slow_is_imported(arguments: list[str], toy: Toy) -> None:
    project = toy("stages: {}\n")
    code = ORDER.replace("ARGUMENTS", repr(arguments))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env={**os.environ, "PYTHONPATH": str(CODE)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == f"{FIRST} []\n"


FINDER = """
import importlib.util, sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "SLOW":
            return importlib.util.spec_from_file_location(name, "slow.py")
sys.meta_path.insert(0, Slow())
"""
