"""The Prefect side of `pipelines.run`: one task per stage, in DVC's order. To be imported after `server.begin`."""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from pipelines import checkouts, graph, runner
from pipelines.checkouts import Parcel
from pipelines.dask_cluster import Cluster
from pipelines.flow import no_heartbeats
from pipelines.graph import Node
from pipelines.processes import Children, Stopping, threads
from pipelines.reproduce import Outcome
from pipelines.runner import Order, StageFailed
from pretextbench.errors import UserError

BACK_OFF = float(os.environ.get("PRETEXTBENCH_BACK_OFF", "5"))  # seconds before the first retry; then 2x, 4x, ...


class Plan:
    """One flow run: its stages as tasks of Prefect, and their outcomes."""

    def __init__(
        self,
        nodes: list[Node],
        children: Children,
        jobs: int,
        retries: int,
        cluster: Cluster | None = None,
        remote: str = "",
    ) -> None:
        self.nodes, self.jobs, self.retries, self.cluster, self.remote = nodes, jobs, retries, cluster, remote
        self.children, self.site = children, runner.Site(children, threads(jobs), jobs)
        self.parcel: Parcel | None = None
        self.run = ""  # known when the flow has begun
        self.began: Callable[[], None] = lambda: None
        self.planned: Callable[[Collection[str]], None] = lambda names: None  # stages that may run
        self.ended: Callable[[Outcome], None] = lambda outcome: None  # of each stage, from any thread
        self.outcomes: dict[str, Outcome] = {}
        self.mistake: UserError | None = None  # Prefect would keep it in the state of the flow

    def runner(self) -> TaskRunner[Any]:
        """Threads of this process, or a Dask cluster."""
        if self.cluster is None:
            return ThreadPoolTaskRunner(max_workers=len(self.nodes) or 1)
        from prefect_dask.task_runners import DaskTaskRunner  # an extra

        return DaskTaskRunner(address=self.cluster.address)

    def body(self) -> State[Any]:
        """The body of the flow: all stages, and the state of the whole."""
        self._begin()
        # First the inventory, which always runs, in this process: which other stages are stale depends on its result.
        roots = {node.name for node in self.nodes if node.always and not node.needs}
        first = self._run_first([node for node in self.nodes if node.name in roots])
        self.outcomes |= {name: ending(name, state) for name, state in first.items()}
        later = [node for node in self.nodes if node.name not in roots]
        try:
            stale = graph.stale([node.name for node in later]) | {n.name for n in later if n.always}
            if self.remote:
                self._send([node.name for node in self.nodes if node.name not in stale])
        except UserError as error:
            self.mistake = error
            return Failed(message=str(error))
        # What always runs has been judged by now: it makes a stage stale only where DVC says so.
        self.planned(roots | graph.may_run(later, stale))
        self.outcomes |= collect(self._submit(later, stale, first))
        self._receive()
        bad = [name for name, result in self.outcomes.items() if not result.is_current]
        return Failed(message=f"not current: {', '.join(bad)}") if bad else Completed(message="all current")

    def _begin(self) -> None:
        """Register the Site of this process, and how stages in other processes are stopped."""
        self.run = str(runtime.flow_run.id)
        runner.begin(self.run, self.site)
        if self.cluster is not None:
            runner.announce(self.children.root, self.run)
            cluster, run = self.cluster, self.run
            self.children.stop_remote = lambda: cluster.stop(run)
        self.began()

    def _send(self, current: list[str]) -> None:
        """Send the outputs of current stages to the remote, where other checkouts get them.

        Raises:
            UserError: the remote does not take it.
        """
        if current:
            self.site.dvc("push", self.remote, current)
        self.parcel = checkouts.pack(self.children.root, self.remote, current)

    def _receive(self) -> None:
        """Fetch outputs of other checkouts; send those of this one, and the run cache, to the remote."""
        new = {name: result.entry for name, result in self.outcomes.items() if result.entry}
        try:
            if self.remote and self.cluster is None:
                self.site.dvc("push", self.remote, ["--run-cache"])
            self.site.fetch(new, self.remote)
        except (UserError, Stopping) as error:
            for name in new or self.outcomes:
                self.outcomes[name] = replace(self.outcomes[name], state="failed", reason=str(error) or "stopped")

    def _task(self, node: Node) -> Any:
        return task(
            name=node.name,
            task_run_name=node.name,
            retries=self.retries,
            retry_delay_seconds=[BACK_OFF * 2**i for i in range(self.retries)],
            retry_condition_fn=runner.retryable,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(runner.repro)

    def _run_first(self, nodes: list[Node]) -> dict[str, State[Any]]:
        """Run stages in this process, one after another."""
        states = {}
        for node in nodes:
            states[node.name] = self._task(node)(self._order(node, True), [], return_state=True)
            self.ended(ending(node.name, states[node.name]))
        return states

    def _submit(
        self, nodes: list[Node], stale: set[str], first: dict[str, State[Any]]
    ) -> dict[str, PrefectFuture[Outcome]]:
        """Hand stages to Prefect, each to start when those it needs have ended well."""
        futures: dict[str, PrefectFuture[Outcome]] = {}
        for node in nodes:
            order, gates = self._order(node, node.name in stale), [first[need] for need in node.needs if need in first]
            needs = [futures[need] for need in node.needs if need in futures]
            futures[node.name] = self._task(node).submit(order, needs, wait_for=gates)
            futures[node.name].add_done_callback(self._ended_as(node.name))
        return futures

    def _ended_as(self, name: str) -> Callable[[PrefectFuture[Outcome]], None]:
        return lambda future: self.ended(ending(name, future))

    def _order(self, node: Node, stale: bool) -> Order:
        concurrent = self.cluster.concurrent if self.cluster else self.jobs
        return Order(
            self.run,
            node,
            stale,
            concurrent,
            threads=os.environ.get("OMP_NUM_THREADS", ""),
            tracking=os.environ.get("MLFLOW_TRACKING_URI", ""),
            restore=bool(self.remote and not self.cluster),
            parcel=self.parcel,
        )


_plan: Plan  # a global and not in a closure: Dask sends the function of the flow along with every task


def pipeline() -> State[Any]:
    """The DVC graph."""
    return _plan.body()


def execute(plan: Plan, began: Callable[[], None]) -> list[Outcome]:
    """Bring all stages up to date and return how each ended, in their order. Failures are outcomes, not exceptions.

    `began` is called when the flow has begun.

    Raises:
        UserError: DVC cannot tell what is stale, for example because a `dvc repro` is at work in this checkout.
    """
    global _plan
    _plan, plan.began = plan, began
    made = flow(name="pipeline", task_runner=plan.runner(), validate_parameters=False)(pipeline)
    try:
        with no_heartbeats():
            state = made(return_state=True)
    finally:
        plan.children.stop_remote = lambda: None
    if plan.mistake:
        raise plan.mistake
    if len(plan.outcomes) < len(plan.nodes):
        state.result()  # raises what Prefect met
    return [plan.outcomes[node.name] for node in plan.nodes]


def collect(futures: dict[str, PrefectFuture[Outcome]]) -> dict[str, Outcome]:
    """Wait for all and read how each ended."""
    for future in futures.values():
        future.wait()
    return {name: ending(name, future) for name, future in futures.items()}


def ending(name: str, end: PrefectFuture[Outcome] | State[Any]) -> Outcome:
    """The outcome of a stage: it is not run if a stage that it needs failed, and a Dask worker may be lost."""
    if not isinstance(end, State):
        end.wait()  # reads the state, where the future has one
        if getattr(getattr(end, "wrapped_future", None), "status", "") in {"error", "cancelled", "lost"}:
            return Outcome(name, "failed", reason="its Dask worker was lost, or the scheduler")
        end = end.state
    result = end.result(raise_on_failure=False) if end.is_final() else None
    if isinstance(result, StageFailed):
        result = result.outcome
    return result if isinstance(result, Outcome) else Outcome(name, "not run")
