"""Torchrun's agent of one training: starts, watches and ends its processes on this machine, and meets other machines.

The stage `pretrain` is node 0. With `pretrain.nodes` above 1 start this on every other machine, in any order:

    PRETEXTBENCH_RENDEZVOUS=HOST:29400 PRETEXTBENCH_NODE=1 python -m stages.agent METHOD SEED

where HOST is the machine on which DVC runs the stage, with the same first variable, and the second one counts (1 is the
default, and enough for two machines). Each machine needs the same code and params.yaml, and what the stage reads
(data/prepared, runs/augment/METHOD, runs/tune, and the .json files in runs/), from a file system that all share or by
`dvc pull`. Only node 0 writes.
"""

import contextlib
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from pretextbench.errors import UserError
from pretextbench.params import Pretrain
from pretextbench.project import layout
from pretextbench.project.locks import locked
from pretextbench.project.settings import check_versions, parameters
from stages.arguments import method_and_seed
from stages.lifecycle import exit_status

RENDEZVOUS = "PRETEXTBENCH_RENDEZVOUS"
NODE = "PRETEXTBENCH_NODE"
WAIT = "PRETEXTBENCH_NODE_WAIT"  # seconds for all nodes to come
LOOPBACK = "localhost:0"  # of a training on one machine: any free port


def train(name: str, seed: int, params: Pretrain, node: int = 0) -> None:
    """Train in `devices` processes here, together with those of the other nodes.

    Raises:
        UserError: a worker found a mistake of the user's, no address is set, not all nodes came, or one ended.
    """
    with contextlib.ExitStack() as stack:
        if params.nodes > 1 and node == 0:  # trainings side by side would want one port
            stack.enter_context(locked(layout.stage_lock("rendezvous")))
        with _one_message(name, seed, params.nodes):
            _launch(name, seed, params, node)


def _launch(name: str, seed: int, params: Pretrain, node: int) -> None:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # 0.3 s, and one device does not need it

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # `stages.lifecycle` prints the message
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // params.devices)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns that a method with one player moves everything
    alone, meeting = params.nodes == 1, place(params.nodes)
    config = LaunchConfig(
        min_nodes=params.nodes,
        max_nodes=params.nodes,
        nproc_per_node=params.devices,
        run_id=f"{name}-{seed}-{os.getpid()}" if alone else f"{name}-{seed}",
        rdzv_backend="c10d" if alone else "static",  # static: node 0 is the one that DVC waits for, and writes
        rdzv_endpoint=meeting,
        rdzv_configs={} if alone else {"rank": node, "timeout": patience()},
        local_addr=None if alone else own_address(meeting),
        max_restarts=0,  # a mistake would repeat itself; a killed run goes on from its checkpoint by `dvc repro`
    )
    elastic_launch(config, sys.executable)("-m", "stages.worker", name, str(seed))


@contextlib.contextmanager
def _one_message(name: str, seed: int, nodes: int) -> Iterator[None]:
    """Turn what the agent raises into one message, where it is not a defect of the program."""
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError  # as in `_launch`

    left = complaint(name, seed, os.getpid())
    left.unlink(missing_ok=True)
    try:
        yield
    except ChildFailedError as error:
        if left.is_file():
            raise UserError(left.read_text(encoding="utf-8")) from None
        if nodes == 1:
            raise
        raise UserError(
            f"{name}-{seed} ended on one of {nodes} nodes before its time; the output of that node says why. Start "
            "it on all of them again: it goes on from its last checkpoint."
        ) from error
    except (RendezvousError, DistError) as error:
        raise UserError(
            f"{name}-{seed} wants {nodes} nodes (pretrain.nodes), and they did not all meet at {place(nodes)} within "
            f"{patience()} s ({WAIT}). {RENDEZVOUS} must be the same everywhere and name a free port of the "
            f"machine that runs the stage; on every other one start `python -m stages.agent {name} {seed}`."
        ) from error
    finally:
        left.unlink(missing_ok=True)


def complaint(name: str, seed: int, agent: int) -> Path:
    """The file in which the workers of an agent leave a user's mistake; the agent prints it once."""
    return layout.training_scratch(name, seed).with_suffix(f".{socket.gethostname()}-{agent}.error")


def place(nodes: int) -> str:
    """The address at which the agents meet.

    Raises:
        UserError: the environment does not set it, and there are several machines.
    """
    if nodes == 1:
        return LOOPBACK
    address = os.environ.get(RENDEZVOUS, "")
    if not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:\s]+):\d{1,5}", address):
        raise UserError(
            f"pretrain.nodes is {nodes}, so {RENDEZVOUS} must say where they meet: HOST:PORT, a free port of the "
            f"machine that runs the stage, the same on all of them. Found {address!r}. See docs/scale-out.md."
        )
    return address


def patience() -> int:
    """Seconds for all nodes to come.

    Raises:
        UserError: the environment gives no number of seconds.
    """
    return _number(WAIT, "600", 10**6)


def _number(name: str, default: str, most: int) -> int:
    text = os.environ.get(name, default)
    if not re.fullmatch(r"[1-9]\d{0,6}", text) or int(text) > most:
        raise UserError(f"{name} is a number from 1 to {most}, found {text!r}.")
    return int(text)


def own_address(meeting: str) -> str:
    """The address at which the other nodes reach this machine: that of the interface that leads to the meeting.

    Gloo is given the interface too: by itself it takes the one of the host's name, which is often the loopback.

    Raises:
        UserError: the host of the meeting is unknown.
    """
    host, _, port = meeting.rpartition(":")
    try:
        family, kind, number, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.connect(target)  # sends nothing
            address = str(probe.getsockname()[0])
    except (OSError, OverflowError) as error:
        raise UserError(f"{RENDEZVOUS} is {meeting}, which cannot be reached: {error}.") from None
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    return address


def main() -> int:
    """Be one of the other nodes of a training; returns the exit status."""
    name, seed = method_and_seed("agent", __doc__)
    try:
        params = parameters().pretrain
        check_versions("pretrain")
        if params.nodes == 1:
            raise UserError("pretrain.nodes is 1 in params.yaml: the stage trains alone. This starts the other nodes.")
        train(name, seed, params, _number(NODE, "1", params.nodes - 1))
    except (UserError, KeyboardInterrupt) as error:
        return exit_status(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
