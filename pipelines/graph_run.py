"""One run of the graph in this checkout: its lock, the repair of DVC's files, its signals, its flow, and its summary.

Importing this imports DVC, which takes seconds: `pipelines.run` does it when Ctrl-C can already be answered.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid  # comes with DVC, which judges by it

from pipelines import checkouts, display, graph, server, staleness
from pipelines.dask_cluster import Cluster
from pipelines.display import table
from pipelines.graph import Node
from pipelines.processes import Children
from pipelines.reproduce import Outcome, run_without_work
from pipelines.runner import GRACE
from pretextbench.base.names import plain
from pretextbench.errors import UserError
from pretextbench.project import layout, lockfile
from pretextbench.project.addresses import without_secrets
from pretextbench.project.answer import answer
from pretextbench.project.locks import Lock, holder, take_soon

CLOCK = "%Y-%m-%d %H:%M:%S"
CONFLICT = "<<<<<<<"  # of a merge in dvc.lock: for people to settle


def chosen_targets(options: argparse.Namespace) -> list[str]:
    """The targets that were asked for; none: everything.

    Raises:
        UserError: a method is unknown, or DVC cannot read the pipeline.
    """
    targets: list[str] = options.targets
    methods = [*options.methods, *([options.only] if options.only else [])]
    if not methods:
        return targets
    return [*targets, *graph.targets(methods, [node.name for node in graph.read([])])]


def lock_checkout(root: Path) -> Lock:
    """Lock this checkout for one run.

    The stages inherit it: should this process be killed, the next run is refused until they have ended.

    Raises:
        UserError: another run holds it; the message names its process, or those of its stages, and how to end them.
    """
    path = root / layout.RUN_LOCK
    lock, left = take_soon(path), take_soon(root / layout.STAGES_LOCK)
    if lock is None or left is None:
        for own in filter(None, (lock, left)):
            own.close()
        text = path.read_text().strip()
        raise UserError(f"Another pipeline run holds {root}: {text}. {_advice(root, text)}")
    left.close()
    lock.write(f"process {os.getpid()}, started {time.strftime(CLOCK)}")
    return lock


def _advice(root: Path, text: str) -> str:
    """Advice on ending the run that `text` names, the content of its lock."""
    number = process_number(text)
    if number:
        return (
            "Wait until it has ended, or stop it with Ctrl-C in its terminal. If that terminal is gone, "
            f"`kill {number}` does the same: it stops its stages, and the next run continues."
        )
    stages = [text for path in sorted(root.glob(str(layout.stage_lock("*")))) if (text := holder(path) or "").isdigit()]
    end = f" To end them now: `kill {' '.join(stages)}`." if stages else ""
    return (
        "It was killed, and stages of it are still at work. They finish what they do and end by themselves; wait for "
        f"that, and what they have made is used.{end}"
    )


def process_number(text: str) -> int:
    """The number of the process that the content of a run's lock names; 0 where that process has ended."""
    match = re.fullmatch(r"process (\d+), started (.+)", text)
    if not match:
        return 0
    try:
        began = psutil.Process(int(match[1])).create_time()
        later = began > time.mktime(time.strptime(match[2], CLOCK)) + 1  # another process has its number by now
    except (psutil.Error, ValueError):
        return 0
    return 0 if later else int(match[1])


def mend(root: Path, again: float = lockfile.SECOND_LOOK) -> list[str]:
    """Set half-written files of DVC aside and return a message for the user about each; DVC would refuse every run.

    DVC writes these files in place. The caller holds the checkout. Nothing is lost: DVC's run cache knows what every
    stage has made of which inputs, and checks it out.
    """
    messages = []
    for name, is_readable, consequence in (
        (str(layout.LOCKFILE), _is_readable_lock, "What was finished comes back from DVC's cache"),
        (".dvc/tmp/rwlock", _rwlock, "It only says which DVC is at work where"),
    ):
        path = root / name
        if path.is_file() and not is_readable(path):
            time.sleep(again)
            if not is_readable(path):
                path.replace(path.with_name(path.name + ".torn"))
                if name == str(layout.LOCKFILE):
                    lockfile.put_back(root)
                messages.append(f"{name} was half written, as a kill leaves it, and is now {name}.torn. {consequence}.")
    return messages


def _is_readable_lock(path: Path) -> bool:
    """Whether DVC can read dvc.lock. Missing or changed entries are no damage: DVC sees those stages as stale."""
    text = path.read_text(errors="replace")
    if CONFLICT in text:
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(lockfile.parse(text))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _rwlock(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(errors="replace")), dict)
    except ValueError:
        return False


def handle_signals(children: Children, signals: list[int]) -> None:
    """Make Ctrl-C and SIGTERM stop the children; the received signals are put into `signals`."""

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        print("stopping; once more to kill" if len(signals) == 1 else "killing", file=sys.stderr, flush=True)
        threading.Thread(target=children.stop).start()  # a handler must not wait

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def without_prefect(root: Path, targets: list[str], reason: str) -> int:
    """DVC alone, one stage after another: the record must never cost a result."""
    print(f"warning: this run is not recorded in Prefect: {reason}. DVC runs the stages.", file=sys.stderr, flush=True)
    return subprocess.run([*graph.DVC, "repro", "--keep-going", *targets], cwd=root).returncode


def finish(outcomes: list[Outcome], signals: list[int], notes: Mapping[str, tuple[str, ...]]) -> int:
    """Print the summary, with the warnings of trainings, then the answer, and return the exit status."""
    print("\n" + table(outcomes))
    for run, texts in sorted(notes.items()):
        print(*(f"\nwarning: {run}: {note}" for note in texts), sep="", file=sys.stderr)
    for outcome in outcomes:
        if outcome.reason:
            print(f"\n{outcome.stage}: {outcome.reason}", file=sys.stderr)
    if signals:
        return stopped(signals, outcomes)
    bad = [outcome for outcome in outcomes if outcome.state == "failed"]
    if all(outcome.is_current for outcome in outcomes):
        compared = "compare" in {outcome.stage for outcome in outcomes}
        if compared and (text := answer(Path.cwd())):
            print(f"\n{text}")
        return 0
    if not bad:
        return 1
    return 2 if all(outcome.mistake for outcome in bad) else 1


def stopped(signals: list[int], outcomes: Sequence[Outcome] = ()) -> int:
    """Print what is kept of a run that was stopped, and how to go on; returns the exit status."""
    done = sum(outcome.is_current for outcome in outcomes)
    counted = f" ({done} of {len(outcomes)})" if outcomes else ""
    kept = f"Stopped. Finished stages{counted} and the checkpoints of trainings are kept."
    print(f"\n{textwrap.fill(kept, shutil.get_terminal_size().columns)}", file=sys.stderr)
    print("`pretextbench run` continues from there.", file=sys.stderr)
    return 128 + signals[0]


def run(root: Path, options: argparse.Namespace) -> int:
    """Run the pipeline of the checkout at `root`, the working folder; returns the exit status.

    Raises:
        UserError, OSError: it cannot begin; nothing was run.
    """
    children = Children(root, (lock_checkout(root).descriptor,), GRACE)
    if options.dry_run:
        print(staleness.explain(graph.read(chosen_targets(options))))
        return 0
    for mended in mend(root):
        print(f"warning: {mended}", file=sys.stderr)
    targets = chosen_targets(options)
    nodes = graph.read(targets)
    if options.remote:
        checkouts.check_remote(options.remote, bool(options.dask))
    elif done := run_without_work(nodes, children):
        print("Everything is up to date: nothing was run, and Prefect has no entry.")
        return finish(done, [], {})
    print(f"{len(nodes)} stages. Starting Prefect (slow the first time) ...", flush=True)
    url = server.begin(root)
    if not server.ready(url):
        return without_prefect(root, targets, server.silence(root, url))
    return run_flow(root, nodes, children, options, targets)


def run_flow(root: Path, nodes: list[Node], children: Children, options: argparse.Namespace, targets: list[str]) -> int:
    """Run the stages as one Prefect flow; returns the exit status."""
    from pipelines import graph_flow  # here: Prefect reads the server's address when it is imported

    signals: list[int] = []

    def began() -> None:  # inside the flow, because Prefect handles SIGTERM its own way: it would wait for the stages
        handle_signals(children, signals)

    try:
        with Cluster(options.dask, options.jobs, root) if options.dask else contextlib.nullcontext() as cluster:
            plan = graph_flow.Plan(nodes, children, options.jobs, options.retries, cluster, options.remote)
            with display.screen(root, [node.name for node in nodes], options.jobs) as screen:
                plan.ended, plan.planned = screen.ended, screen.planned
                outcomes = graph_flow.execute(plan, began)
    except UserError as error:
        print(f"error: {plain(error)}", file=sys.stderr)
        return stopped(signals) if signals else 2
    except Exception as error:  # Prefect's, not a stage's: those are outcomes
        children.stop()
        if signals:
            return stopped(signals)
        return without_prefect(root, targets, without_secrets(f"{type(error).__name__}: {error}"))
    return finish(outcomes, signals, screen.notes)
