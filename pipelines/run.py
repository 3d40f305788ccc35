"""The whole DVC graph as one Prefect flow: `uv run python -m pipelines.run [--jobs N] [--only METHOD] [TARGET ...]`.

DVC says what is stale and keeps what was made; Prefect orders, runs side by side, retries and records. When DVC finds
nothing to run, Prefect is not started and has no record of it; with `--dry-run` DVC's reasons are printed. Exit status:
0 all current; 2 a mistake of the user; 1 something failed; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines import checkouts, devices, display, graph, server, staleness
from pipelines.dask_cluster import LOCAL, Cluster
from pipelines.graph import Node
from pipelines.lock_repair import mend
from pipelines.outcome import Outcome, table
from pipelines.processes import Children
from pipelines.reproduce import run_without_work
from pipelines.runner import GRACE
from pretextbench.errors import UserError
from pretextbench.project import layout, run_options
from pretextbench.project.locks import Lock, take


def arguments(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; `dask` may stand alone, and `methods` becomes a list."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=run_options.TARGETS)
    for option in run_options.OPTIONS:
        if option.kind is bool:
            parser.add_argument(option.flag, action="store_true", help=option.help)
            continue
        alone: dict[str, Any] = {"nargs": "?", "const": LOCAL} if option.name == "dask" else {}
        parser.add_argument(
            option.flag, type=option.kind, default=option.default, metavar=option.metavar, help=option.help, **alone
        )
    options = parser.parse_args(line)
    if options.dask and options.dask != LOCAL and ":" not in options.dask:
        parser.error(f"--dask takes an address such as tcp://HOST:8786, found {options.dask!r}; name targets before it")
    options.jobs = devices.jobs(devices.available()) if options.jobs is None else options.jobs
    for option in run_options.OPTIONS:
        if option.minimum is not None and (value := getattr(options, option.name)) < option.minimum:
            parser.error(f"{option.flag} must be {option.minimum} or more, found {value}")
    options.methods, options.remote = names(options.methods or ""), options.remote or ""
    return options


def names(words: str) -> list[str]:
    """`a,b` as a list."""
    return [word.strip() for word in words.split(",") if word.strip()]


def chosen(options: argparse.Namespace) -> list[str]:
    """The targets that were asked for; none: everything.

    Raises:
        UserError: a method is unknown, or DVC cannot read the pipeline.
    """
    targets: list[str] = options.targets
    methods = [*options.methods, *([options.only] if options.only else [])]
    if not methods:
        return targets
    return [*targets, *graph.targets(methods, [node.name for node in graph.read([])])]


def alone(root: Path) -> Lock:
    """Lock this checkout for one run.

    The stages inherit it: should this process be killed, the next run is refused until they have ended.

    Raises:
        UserError: another run holds it; the message names it.
    """
    path = root / layout.RUN_LOCK
    lock = take(path, wait=False)
    left = take(root / layout.STAGES_LOCK, wait=False)
    if lock is None or left is None:
        holder = path.read_text().strip()
        if killed(holder):
            raise UserError(
                f"Another pipeline run holds {root}: {holder}. It was killed, and stages of it are still at work. They "
                "finish what they do and end by themselves; wait for that, and what they have made is used."
            )
        raise UserError(
            f"Another pipeline run holds {root}: {holder}. Wait until it and its stages have ended, or stop it with "
            "Ctrl-C in its terminal."
        )
    left.close()
    lock.write(f"process {os.getpid()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
    return lock


def killed(holder: str) -> bool:
    """Whether the process that a lock names is gone, so that Ctrl-C in its terminal does nothing."""
    number = re.match(r"process (\d+),", holder)
    try:
        os.kill(int(number[1]), 0) if number else None
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        pass
    return False


def handle_signals(children: Children, came: list[int]) -> None:
    """Make Ctrl-C and SIGTERM stop the children; the signals that came are put into `came`."""

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        print("stopping; once more to kill" if len(came) == 1 else "killing", file=sys.stderr, flush=True)
        threading.Thread(target=children.stop).start()  # a handler must not wait

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def without_prefect(root: Path, targets: list[str], reason: str) -> int:
    """DVC alone, one stage after another: the record must never cost a result."""
    print(f"warning: this run is not recorded in Prefect: {reason}. DVC runs the stages.", file=sys.stderr, flush=True)
    return subprocess.run([*graph.DVC, "repro", "--keep-going", *targets], cwd=root).returncode


def finish(outcomes: list[Outcome], came: list[int], notes: Mapping[str, tuple[str, ...]]) -> int:
    """Print the summary, with the warnings of trainings, and return the exit status."""
    print("\n" + table(outcomes))
    for run, texts in sorted(notes.items()):
        print(*(f"\nwarning: {run}: {note}" for note in texts), sep="", file=sys.stderr)
    for outcome in outcomes:
        if outcome.reason:
            print(f"\n{outcome.stage}: {outcome.reason}", file=sys.stderr)
    if came:
        return 128 + came[0]
    bad = [outcome for outcome in outcomes if outcome.state == "failed"]
    if not bad:
        return 0 if all(outcome.good for outcome in outcomes) else 1
    return 2 if all(outcome.mistake for outcome in bad) else 1


def main(words: list[str] | None = None) -> int:
    """Run the pipeline; returns the exit status."""
    options, root = arguments(words), layout.root()
    os.chdir(root)  # DVC names stages relative to the working folder
    try:
        children = Children(root, (alone(root).descriptor,), GRACE)
        if options.dry_run:
            print(staleness.explain(graph.read(chosen(options))))
            return 0
        for mended in mend(root):
            print(f"warning: {mended}", file=sys.stderr)
        targets = chosen(options)
        nodes = graph.read(targets)
        if options.remote:
            checkouts.check_remote(options.remote, bool(options.dask))
        elif done := run_without_work(nodes, children):
            print("everything is current: nothing was to be run, and nothing is recorded in Prefect")
            return finish(done, [], {})
        url = server.begin(root)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not server.ready(url):
        return without_prefect(root, targets, "its server does not answer")
    return run_flow(root, nodes, children, options, targets)


def run_flow(root: Path, nodes: list[Node], children: Children, options: argparse.Namespace, targets: list[str]) -> int:
    """Run the stages as one Prefect flow; returns the exit status."""
    from pipelines import graph_flow  # here: Prefect reads the server's address when it is imported

    came: list[int] = []

    def began() -> None:  # inside the flow, because Prefect handles SIGTERM its own way: it would wait for the stages
        handle_signals(children, came)

    try:
        with Cluster(options.dask, options.jobs, root) if options.dask else contextlib.nullcontext() as cluster:
            plan = graph_flow.Plan(nodes, children, options.jobs, options.retries, cluster, options.remote)
            with display.screen(root, [node.name for node in nodes]) as screen:
                plan.ended = screen.ended
                outcomes = graph_flow.execute(plan, began)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 128 + came[0] if came else 2
    except Exception as error:  # Prefect's, not a stage's: those are outcomes
        children.stop()
        if came:
            return 128 + came[0]
        return without_prefect(root, targets, f"{type(error).__name__}: {error}")
    return finish(outcomes, came, screen.notes)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there was anything to stop
        sys.exit(130)
