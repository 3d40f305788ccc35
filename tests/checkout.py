"""The project in a folder of its own, with a small comparison, as a user has it after a clone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pretextbench import scaffold

PROJECT = Path(__file__).parents[1]
TINY = """
prepare: {synthetic: {train: 200, val: 40, test: 60}}
augment: {derive_images: 50, view_images: 20}
encoder: {width: 4}
pretrain: {images: 64, batch_size: 16, log_every: 2}
evaluate: {budgets: ["10%"], redraws: 1, linear_l2: [0.001, 0.1], linear_steps: 20}
compare: {methods: [mean-colour], controls: [random], seeds: [0], resamples: 200}
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


class Project:
    """A checkout in a folder of its own, and what is run in it."""

    def __init__(self, root: Path, site: Path) -> None:
        self.root = root
        for name in ("stages", "pipelines", "src", ".dvc/config", ".dvcignore", "dvc.yaml"):
            origin, target = PROJECT / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(origin, target, ignore=skip) if origin.is_dir() else shutil.copy(origin, target)
        with (root / ".dvc/config").open("a") as config:
            config.write("    no_scm = true\n")
        self.write_params(TINY)
        scripts = str(Path(sys.executable).parent)
        paths = {"PYTHONPATH": str(site), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        self.env = {**os.environ, **paths, "PRETEXTBENCH_SERVER_LINGER": "5"}

    def write_params(self, text: str) -> None:
        (self.root / "params.yaml").write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=self.root, env=self.env, capture_output=True, text=True, timeout=500
        )

    def repro(self) -> list[str]:
        """`dvc repro`; returns the stages that ran."""
        done = self.run("dvc", "repro")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return re.findall(r"^Running stage '(.+)':$", done.stdout, re.M)
