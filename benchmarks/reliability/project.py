"""A small project in a folder of its own: started, killed, put back, and judged against an undisturbed run."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Set as AbstractSet
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("stages", "pipelines", "src", "plugins", ".dvc/config", ".dvcignore", "dvc.yaml")
PARAMS = """
prepare: {synthetic: {train: 200, val: 40, test: 60}}
augment: {derive_images: 50, view_images: 20}
encoder: {width: 4}
pretrain: {images: 384, batch_size: 32, log_every: 2, checkpoint_seconds: 0}
evaluate: {budgets: ["10%"], redraws: 1, linear_l2: [0.001, 0.1], linear_steps: 20, map_images: 0}
compare: {methods: [simclr, rotation], controls: [random], references: [], seeds: [0], budgets: [], resamples: 200}
methods: {}
"""
TIME = 900  # seconds that any command may take
SETTLE = 20.0  # seconds in which what a kill has left behind must have ended by itself
LINGER = "20"  # seconds that the Prefect server outlives its users
MADE = ("dvc.lock", ".dvc", "data", "runs", "reports", "mlruns", "mlflow.db", ".scratch")  # put back by `restore`
BUSY = re.compile(r"is at work here already|Another pipeline run holds|acquire lock|is busy", re.I)


@dataclasses.dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    text: str  # stdout and stderr
    seconds: float

    @property
    def busy(self) -> bool:
        """True if the run was refused because another one was at work."""
        return self.code != 0 and BUSY.search(self.text) is not None

    @property
    def error(self) -> str:
        """The line that tells a user what is wrong: a stage's own, else DVC's or the flow's last."""
        lines = [line.strip() for line in self.text.splitlines()]
        errors = [line for line in lines if line.startswith("error: ")]
        reports = [line for line in lines if re.match(r"ERROR: (?!failed to repro)|\S+: .*; see ", line)]
        return (errors or reports or [line for line in lines if line] or [""])[-1]


class Running:
    """A command at work. Its output goes to a file: what a kill leaves behind would hold a pipe open."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log, self.began = process, log, time.monotonic()

    def wait(self) -> Done:
        """Wait for its end."""
        code = self.process.wait(TIME)
        return Done(code, self.log.read_text(errors="replace"), time.monotonic() - self.began)


class Project:
    """A copy of this checkout's code, with its own parameters, pipeline, DVC cache and records, without git."""

    def __init__(self, root: Path, params: str = PARAMS) -> None:
        self.root, self.logs, self.count = root, root.with_name(root.name + "-logs"), 0
        self.logs.mkdir(parents=True)
        for name in COPIED:
            origin, target = CHECKOUT / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(origin, target, ignore=skip) if origin.is_dir() else shutil.copy(origin, target)
        with (root / ".dvc/config").open("a") as config:
            config.write("    no_scm = true\n")
        (root / "params.yaml").write_text(params)
        code = [root / "src", *sorted((root / "plugins").iterdir())]  # the copies: an edit meanwhile changes nothing
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))},
            "PYTHONPATH": os.pathsep.join(map(str, code)),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(root.with_name(root.name + "-site")),
            "PRETEXTBENCH_SERVER_LINGER": LINGER,
            "OMP_NUM_THREADS": "1",  # the bytes of an encoder depend on the number of threads
        }

    def start(self, *words: str, **env: str) -> Running:
        """Start `python -m words` in a process group of its own, as a terminal does."""
        self.count += 1
        log = self.logs / f"{self.count:03}-{words[0]}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.root,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, log)

    def run(self, *words: str, **env: str) -> Done:
        """Run `python -m words` to its end."""
        return self.start(*words, **env).wait()

    def must(self, *words: str, **env: str) -> Done:
        """Run what has no reason to fail.

        Raises:
            RuntimeError: it failed; carries its last words.
        """
        done = self.run(*words, **env)
        if done.code != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {done.code}:\n{done.text[-3000:]}")
        return done

    def keep(self, name: str) -> Path:
        """Copy what has been made so far; returns where `restore` finds it."""
        self.settled()
        kept = self.root.with_name(f"{self.root.name}-{name}")
        for name in MADE:
            copy(self.root / name, kept / name)
        return kept

    def restore(self, kept: Path) -> None:
        """Put everything back as `keep` found it, but the Prefect server, which lives on."""
        self.settled()
        for name in MADE:
            remove(self.root / name)
            copy(kept / name, self.root / name)

    def processes(self) -> dict[int, str]:
        """Processes that run in this folder: number -> kind. The Prefect server and its like are of kind `server`."""
        kinds = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                at_home = Path(os.readlink(folder / "cwd")).is_relative_to(self.root)
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if at_home and words[0]:  # a zombie has no words
                kinds[int(folder.name)] = kind(words)
        return kinds

    def settled(self, seconds: float = SETTLE) -> list[str]:
        """Wait until nothing but the server is at work; what still is after so long is returned."""
        end = time.monotonic() + seconds
        while left := [kind for kind in self.processes().values() if kind != "server"]:
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        return left

    def close(self) -> list[str]:
        """Wait for the server to leave too; what is left then is killed and returned."""
        end = time.monotonic() + float(LINGER) + SETTLE
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return list(left.values())


def kind(words: list[str]) -> str:
    """The kind of a process, from its command line: `python -m MODULE ...`."""
    module = words[2] if words[1:2] == ["-m"] else ""
    names = {"pipelines.server": "server", "pipelines.run": "flow", "dvc": "dvc", "stages": "stage"}
    return names.get(module, "recorder" if module == "pretextbench.track" else "other")


def stage_names(root: Path) -> set[str]:
    """The stages that dvc.lock knows."""
    path = root / "dvc.lock"
    return set(yaml.safe_load(path.read_text())["stages"]) if path.is_file() else set()


def encoders(root: Path) -> dict[str, str]:
    """SHA-256 of the weights of every pretrained encoder."""
    files = sorted((root / "runs/pretrain").glob("*/*.safetensors"))
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def missing(root: Path) -> list[str]:
    """Outputs that dvc.lock names and DVC's cache does not hold."""
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    lost = []
    for out in (out for stage in stages.values() for out in stage.get("outs", [])):
        blobs = [out["md5"]]
        if out["md5"].endswith(".dir") and cached(root, out["md5"]).is_file():
            blobs += [entry["md5"] for entry in json.loads(cached(root, out["md5"]).read_text())]
        lost += [f"{out['path']}:{blob}" for blob in blobs if not cached(root, blob).is_file()]
    return lost


def leftovers(root: Path) -> list[str]:
    """Remains of interrupted writes next to the outputs, which a reader of the folder would see."""
    return [str(path) for name in ("data", "runs", "reports") for path in (root / name).rglob(".*")]


def cached(root: Path, md5: str) -> Path:
    """Path of an object in DVC's cache."""
    return root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def clean(project: Project, later: AbstractSet[str] = frozenset()) -> bool:
    """True if `dvc status` lists no stage but the inventory, which always runs, and those that come `later`."""
    stale = json.loads(project.must("dvc", "status", "--json").text.splitlines()[-1])
    return set(stale) <= {"inventory"} | later


def verdict(project: Project, last: Done, reference: dict[str, str]) -> str:
    """State of the project after the last run, in words; faults in capitals."""
    checks = [("same encoders", encoders(project.root) == reference), ("cache complete", not missing(project.root))]
    checks += [("status clean", clean(project))]
    words = [name if fine else f"NOT {name.upper()}" for name, fine in checks]
    return ", ".join(["finished" if last.code == 0 else f"FAILED ({last.error})", *words])


def copy(origin: Path, target: Path) -> None:
    """Copy a file or a folder, if it is there."""
    if origin.is_dir():
        shutil.copytree(origin, target, symlinks=True)
    elif origin.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, target)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
