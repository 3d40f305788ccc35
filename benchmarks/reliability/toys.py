"""Toy pipelines under the graph flow: stages that end together, stages side by side, and what a stage costs."""

import json
import re
import statistics
import time
from pathlib import Path

from benchmarks.reliability.project import Done, Project, clean, missing, remove, stage_names
from benchmarks.reliability.table import show

TOGETHER, ROUNDS = 8, 10  # stages that end at the same moment
# Each says that it is there and waits for all; then all write their output at the same moment.
MEET = (
    "touch here/${item}; for i in $(seq 3000); do [ $(ls here | wc -l) -ge COUNT ] && break; sleep 0.02; done; "
    "[ $(ls here | wc -l) -ge COUNT ] && echo ${item} > o${item}"
)
WAITING, LENGTH = 6, 10  # stages, seconds
WAIT = f"sleep {LENGTH}; echo ${{item}} > o${{item}}"
# A fixed amount of work for one core, a few seconds long.
COMPUTE = "python -c 'sum(i * i for i in range(60_000_000))'; echo ${item} > o${item}"


def pipeline(command: str, count: int) -> str:
    """A dvc.yaml of independent stages s@0, s@1, ... that run `command`."""
    names = list(range(count))
    return json.dumps({"stages": {"s": {"foreach": names, "do": {"cmd": command, "outs": ["o${item}"]}}}})


def toy(folder: Path, name: str) -> Project:
    """A project for toy pipelines."""
    return Project(folder / name, "{}")


def fresh(project: Project, text: str) -> None:
    """Nothing has ever run; the pipeline is `text`."""
    for path in [*project.root.glob("o[0-9]*"), *(project.root / n for n in ("dvc.lock", ".dvc/cache", "here"))]:
        remove(path)
    (project.root / "here").mkdir()
    (project.root / "dvc.yaml").write_text(text)


def flow(project: Project, jobs: int) -> Done:
    """The graph flow; its log files of the stages are added to the text."""
    done = project.run("pipelines.run", "--jobs", str(jobs))
    logs = "".join(path.read_text() for path in (project.root / ".prefect/logs").glob("*.log"))
    return Done(done.code, done.text + logs, done.seconds)


def locks(folder: Path, rounds: int = ROUNDS) -> None:
    """Stages that end at the same moment write one dvc.lock."""
    project, rows = toy(folder, "locks"), []
    for _ in range(rounds):
        fresh(project, pipeline(MEET.replace("COUNT", str(TOGETHER)), TOGETHER))
        done = flow(project, TOGETHER)
        lost = TOGETHER - len(stage_names(project.root))
        refused = len(re.findall("unable to acquire", done.text, re.I))
        rows.append((done.code != 0, lost, len(missing(project.root)), refused, not clean(project)))
        print(f"round {len(rows)}: {done.seconds:.1f} s, {rows[-1]}", flush=True)
    head = ["rounds", "stages in each", "rounds failed", "entries lost", "outputs not in the cache"]
    head += ['"unable to acquire lock"', "rounds with `dvc status` not clean"]
    show("Stages that end at the same moment", head, [[rounds, TOGETHER, *map(sum, zip(*rows, strict=True))]])
    project.close()


def side(folder: Path) -> None:
    """Independent stages with one job and with two."""
    project, rows = toy(folder, "side"), []
    fresh(project, pipeline("echo > o${item}", 1))
    flow(project, 1)  # the server has come up
    for name, command, count in ((f"waiting {LENGTH} s", WAIT, WAITING), ("computing on one core", COMPUTE, 4)):
        seconds = []
        for jobs in (1, 2):
            fresh(project, pipeline(command, count))
            seconds.append(project.must("pipelines.run", "--jobs", str(jobs)).seconds)
        rows.append([name, count, *seconds, f"{seconds[1] / seconds[0]:.2f}"])
    show("Side by side", ["stages", "how many", "s with 1 job", "s with 2 jobs", "ratio"], rows)
    project.close()


def overhead(folder: Path) -> None:
    """Overhead of the flow on the stages that it runs, and duration of a run without work."""
    project = toy(folder, "overhead")
    fresh(project, pipeline("echo > o${item}", 1))
    cold = flow(project, 1).seconds  # the server has come up after this
    rows = []
    for count in (1, 12):
        fresh(project, pipeline("echo > o${item}", count))
        done = project.must("pipelines.run", "--jobs", "1")
        stages = sum(map(float, re.findall(r"^s@\d+ +ran +([\d.]+)\b", done.text, re.M)))
        rows.append([f"{count} empty stages", done.seconds, stages, (done.seconds - stages) / count, stages / count])
    head = [
        "flow, 1 job, server up",
        "wall s",
        "sum of its stages s",
        "flow's own s per stage",
        "DVC's s per empty stage",
    ]
    show("Overhead", head, rows)
    nothing = [project.must("pipelines.run").seconds for _ in range(3)]
    project.close()
    restarted = project.must("pipelines.run").seconds  # the server has ended and comes up again
    bare = [project.must("dvc", "repro").seconds for _ in range(3)]
    show(
        "Nothing to do",
        ["what", "seconds"],
        [
            ["flow, server up (median of 3)", statistics.median(nothing)],
            ["flow, server starts", restarted],
            ["flow with one empty stage, the project's first: the server makes its database", cold],
            ["`dvc repro` (median of 3)", statistics.median(bare)],
        ],
    )
    project.close()


def real(folder: Path) -> None:
    """The overhead of the flow over real stages, one after another and two at a time."""
    project, rows = Project(folder / "real"), []
    project.must("dvc", "repro", "inventory")
    kept = project.keep("begun")
    for jobs in (1, 2):
        project.restore(kept)
        start = time.monotonic()
        done = project.must("pipelines.run", "--jobs", str(jobs))
        seconds = [float(s) for s in re.findall(r"^\S+ +ran +([\d.]+)\b", done.text, re.M)]
        wall = time.monotonic() - start
        rows.append([jobs, len(seconds), wall, sum(seconds), (wall - sum(seconds)) / len(seconds)])
    nothing = [project.must("pipelines.run").seconds for _ in range(3)]
    head = ["jobs", "stages", "wall s", "sum of stages s", "difference s per stage"]
    show("A real comparison (one thread for each stage)", head, rows)
    print(f"\nThe same with nothing to do: {statistics.median(nothing):.1f} s (median of 3).", flush=True)
    project.close()
