"""The Prefect side of `pipelines.run`: one task per stage, in DVC's order. To be imported after `server.begin`."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines import graph, outcome, server
from pipelines.children import Children, Stopping, threads
from pipelines.flow import patient
from pipelines.graph import Node
from pipelines.outcome import Outcome
from pretextbench.errors import UserError
from stages.run import RECORDED

BACK_OFF = float(os.environ.get("PRETEXTBENCH_BACK_OFF", "5"))  # seconds before the first retry; then 2x, 4x, ...


class StageFailed(Exception):
    """Carries the outcome of a stage that did not end well."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason or outcome.state)
        self.outcome = outcome


class Stages:
    """Runs stages as processes, at most `jobs` at a time. Locks and processes live here, not in the tasks.

    Prefect's thread pool would count tasks that only wait for others, and an early branch could then hold up all
    threads: so every task gets a thread, and the limit is kept here.
    """

    def __init__(self, root: Path, children: Children, jobs: int) -> None:
        self.root, self.children, self.threads = root, children, threads(jobs)
        self.slots = threading.Semaphore(jobs)
        self.stale: set[str] = set()

    def repro(self, node: Node, needs: list[Outcome]) -> Outcome:
        """Bring one stage up to date.

        Raises:
            StageFailed: it failed or was stopped.
        """
        fresh = any(need.state in {"ran", "restored"} for need in needs)
        if not fresh and node.name not in self.stale:
            return self._tell(Outcome(node.name, "up to date"))
        with self.slots:
            result = self._tell(self._process(node.name))
        if not result.good:
            raise StageFailed(result)
        return result

    def _process(self, stage: str) -> Outcome:
        log = server.folder(self.root) / "logs" / f"{stage.replace('/', '_')}.log"
        start = time.monotonic()
        env = {RECORDED: str(runtime.flow_run.id), **self.threads}
        try:
            status = self.children.run([*graph.DVC, "repro", "--single-item", stage], log, env)
        except Stopping:
            return Outcome(stage, "stopped")
        return outcome.read(stage, status, log, time.monotonic() - start)

    @staticmethod
    def _tell(result: Outcome) -> Outcome:
        print(f"{result.stage}: {result.state} ({result.seconds:.1f} s)", flush=True)
        return result


def execute(
    root: Path, nodes: list[Node], children: Children, jobs: int, retries: int, began: Callable[[], None]
) -> list[Outcome]:
    """Bring all `nodes` up to date and return how each ended, in their order. Failures are outcomes, not exceptions.

    `began` is called when the flow has begun.

    Raises:
        UserError: DVC cannot tell what is stale, for example because somebody's `dvc repro` is at work here.
    """
    stages = Stages(root, children, jobs)
    roots = {node.name for node in nodes if node.always and not node.needs}
    outcomes: dict[str, Outcome] = {}
    untold: list[UserError] = []  # Prefect would keep it in the state of the flow

    @flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=len(nodes) or 1), validate_parameters=False)
    def pipeline() -> State[Any]:
        """The DVC graph."""
        began()
        # First what always runs (the inventory): what else is stale depends on what it finds.
        stages.stale |= roots
        first = submit(stages, [node for node in nodes if node.name in roots], {}, retries)
        outcomes.update(collect(first))
        rest = [node for node in nodes if node.name not in roots]
        try:
            stages.stale |= graph.stale([node.name for node in rest]) | {n.name for n in rest if n.always}
        except UserError as error:
            untold.append(error)
            return Failed(message=str(error))
        # What always runs has been judged by now: it makes a stage stale only where DVC says so.
        outcomes.update(collect(submit(stages, rest, first, retries)))
        bad = [name for name, result in outcomes.items() if not result.good]
        return Failed(message=f"not current: {', '.join(bad)}") if bad else Completed(message="all current")

    with patient():
        pipeline(return_state=True)
    if untold:
        raise untold[0]
    return [outcomes[node.name] for node in nodes]


def submit(
    stages: Stages, nodes: list[Node], first: dict[str, PrefectFuture[Outcome]], retries: int
) -> dict[str, PrefectFuture[Outcome]]:
    """Hand the stages to Prefect, each to start when those it needs have ended well."""
    futures: dict[str, PrefectFuture[Outcome]] = {}

    def retryable(_task: object, _run: object, state: State[Any]) -> bool:
        error = state.result(raise_on_failure=False)
        failed = isinstance(error, StageFailed) and error.outcome.state == "failed" and not error.outcome.mistake
        return failed and not stages.children.stopping.is_set()

    for node in nodes:

        def body(needs: list[Outcome], node: Node = node) -> Outcome:
            return stages.repro(node, needs)

        bound = task(
            name=node.name,
            task_run_name=node.name,
            retries=retries,
            retry_delay_seconds=[BACK_OFF * 2**i for i in range(retries)],
            retry_condition_fn=retryable,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(body)
        gates = [first[need] for need in node.needs if need in first]
        futures[node.name] = bound.submit([futures[need] for need in node.needs if need in futures], wait_for=gates)
    return futures


def collect(futures: dict[str, PrefectFuture[Outcome]]) -> dict[str, Outcome]:
    """Wait for all and read how each ended; one that needed a failed stage was not run."""
    outcomes = {}
    for name, future in futures.items():
        future.wait()
        result = future.state.result(raise_on_failure=False) if future.state.is_final() else None
        if isinstance(result, StageFailed):
            result = result.outcome
        outcomes[name] = result if isinstance(result, Outcome) else Outcome(name, "not run")
    return outcomes
