"""The project in a folder of its own, with a small comparison, as a user has it after a clone.

A finished comparison is made once per session, under a file lock that the workers of pytest-xdist share; a test that
needs one works in a copy of its own.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pretextbench import scaffold
from pretextbench.params import parse_text
from pretextbench.project import layout
from pretextbench.project.settings import settings
from stages import delegate

PROJECT = Path(__file__).parents[1]
BARE = "/usr/bin:/bin"  # a search path without any environment: commands are started by their path
PATIENCE = 1500  # seconds for a command, on a machine that others use as well
TINY = """
prepare: {synthetic: {train: 200, val: 40, test: 60}}
augment: {derive_images: 50, view_images: 20}
encoder: {width: 4}
pretrain: {images: 64, batch_size: 16, log_every: 2}
evaluate: {budgets: ["10%"], redraws: 1, linear_l2: [0.001, 0.1], linear_steps: 20, map_images: 40}
compare: {methods: [mean-colour], controls: [random], references: [], seeds: [0], budgets: [], resamples: 200}
methods: {mean-colour: {crop_min: 0.5}}
"""


def install_from_the_scaffold(folder: Path) -> Path:
    """Write a new method and install it as a distribution; returns where it was installed."""
    source, site = folder / "mean-colour", folder / "site"
    scaffold.write("mean-colour", source)
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "the tests are run with `uv run pytest`"
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(source)]
    subprocess.run([*command, "--python", sys.executable], check=True)
    return site


def environment(site: Path) -> dict[str, str]:
    """The variables of commands in a checkout whose own method is installed in `site`."""
    scripts = str(Path(sys.executable).parent)
    paths = {"PYTHONPATH": str(site), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    return {**os.environ, **paths, "PRETEXTBENCH_SERVER_LINGER": "5", "OMP_NUM_THREADS": "1"}


@dataclass
class Project:
    """A checkout in a folder of its own, and what is run in it."""

    root: Path
    env: dict[str, str]

    def write_params(self, text: str) -> None:
        (self.root / "params.yaml").write_text(text)

    def settle(self, text: str) -> None:
        """Make the stages take these parameters as if the inventory had read and accepted them."""
        self.write_params(text)
        content = settings(text, parse_text(text, "params.yaml"))
        (self.root / layout.SETTINGS).write_text(json.dumps(content, indent=2) + "\n")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-m", *arguments], self.env | {"PATH": BARE}
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, timeout=PATIENCE)

    def repro(self, *targets: str) -> list[str]:
        """`dvc repro`; returns the stages that ran."""
        done = self.run("dvc", "repro", *targets)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "leaked" not in done.stderr, done.stderr[-3000:]
        return re.findall(r"^Running stage '(.+)':$", done.stdout, re.M)


def checkout(root: Path, site: Path) -> Project:
    """What a clone has, in `root`, with small parameters and the method that is installed in `site`."""
    for name in ("stages", "pipelines", "src", ".dvc/config", ".dvcignore", "dvc.yaml"):
        origin, target = PROJECT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(origin, target, ignore=skip) if origin.is_dir() else shutil.copy(origin, target)
    with (root / ".dvc/config").open("a") as config:
        config.write("    no_scm = true\n")
    made = Project(root, environment(site))
    made.write_params(TINY)
    return made


def finished(folder: Path) -> Project:
    """A checkout in `folder` after its first `dvc repro`; made by the first process that asks, read by all others."""
    with FileLock(folder.with_suffix(".lock")):
        ran = folder / "ran.txt"
        if not ran.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a worker has failed half-way
            folder.mkdir()
            made = checkout(folder / "checkout", install_from_the_scaffold(folder))
            made.env[delegate.LINGER] = "20"  # both runs use one host, also where starting the second takes long
            stages = made.repro("pretrain@mean-colour-0")
            made.env["PRETEXTBENCH_RECORDED"] = "1"  # a flow of Prefect's takes seconds: the stages above had theirs
            ran.write_text("\n".join([*stages, *made.repro()]))
    return _opened(folder)


def copied(project: Project, folder: Path) -> Project:
    """A copy of a finished project and of its method, in a new folder; nothing in it points back."""
    origin = project.root.parent
    shutil.copytree(origin, folder, symlinks=True, ignore=shutil.ignore_patterns(".prefect", "mlflow.db", "*.sock"))
    made = _opened(folder)
    (made.root / ".prefect").mkdir()
    for name in ("mlflow.db", ".prefect/prefect.db"):
        _copy_store(project.root / name, made.root / name)
    places = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
    with contextlib.closing(sqlite3.connect(made.root / "mlflow.db")) as store, store:
        for table, column in places.items():
            store.execute(f"update {table} set {column} = replace({column}, ?, ?)", (str(origin), str(folder)))
    return made


def _copy_store(origin: Path, target: Path) -> None:
    """Copy an SQLite data base, also while a server still has it open."""
    with contextlib.closing(sqlite3.connect(origin)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _opened(folder: Path) -> Project:
    return Project(folder / "checkout", environment(folder / "site"))


def stages_of_the_first_run(project: Project) -> list[str]:
    """The stages that ran when the finished project was made."""
    return (project.root.parent / "ran.txt").read_text().splitlines()
