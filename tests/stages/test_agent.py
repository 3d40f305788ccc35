"""Two machines that train one encoder: two agents that meet on the loopback interface, each in a checkout of its own.

The second checkout shares nothing with the first: it has copies of what the stage reads, and no checkpoint.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pretextbench.errors import UserError
from pretextbench.params import Pretrain
from pretextbench.train.pretrain import start_fabric
from stages import agent
from tests import training_here
from tests.checkout import Project, checkout, copied
from tests.forked import fork
from tests.ports import free_port

PARAMS = """
prepare: {synthetic: {train: 200, val: 40, test: 60}}
augment: {derive_images: 50, view_images: 20}
encoder: {width: 4}
pretrain: {images: 320, batch_size: 16, log_every: 2, checkpoint_seconds: 0, accelerator: cpu, TOGETHER}
compare: {methods: [rotation], controls: [random], references: [], seeds: [0], budgets: []}
"""
TWO_NODES = PARAMS.replace("TOGETHER", "nodes: 2")


def test_the_place_to_meet_is_told_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(agent.RENDEZVOUS, raising=False)
    assert agent.place(1) == "localhost:0"
    with pytest.raises(UserError, match=r"nodes is 2, so PRETEXTBENCH_RENDEZVOUS must say .* HOST:PORT.*Found ''"):
        agent.place(2)
    for good in ("host:29400", "10.0.0.1:1", "[::1]:29400"):
        monkeypatch.setenv(agent.RENDEZVOUS, good)
        assert agent.place(2) == good
    for bad in ("host", "host:", ":29400", "a:b", "host:1 2"):
        monkeypatch.setenv(agent.RENDEZVOUS, bad)
        with pytest.raises(UserError, match="HOST:PORT"):
            agent.place(2)


def test_patience_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(agent.WAIT, raising=False)
    assert agent.patience() == 600
    monkeypatch.setenv(agent.WAIT, "soon")
    with pytest.raises(UserError, match="PRETEXTBENCH_NODE_WAIT is a number from 1 to 1000000, found 'soon'"):
        agent.patience()


def test_a_node_is_reached_by_the_interface_that_leads_to_the_meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert agent.own_address("127.0.0.1:29400") == "127.0.0.1"
    assert os.environ.pop("GLOO_SOCKET_IFNAME") == "lo"
    with pytest.raises(UserError, match=r"RENDEZVOUS is nowhere\.invalid:1, which cannot be reached"):
        agent.own_address("nowhere.invalid:1")


def test_as_many_processes_as_params_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"3 processes were started, but pretrain\.devices x nodes is 1 x 2"):
        start_fabric(Pretrain(nodes=2))


class Machines:
    """Two checkouts with the same prepared images, and what runs in them."""

    def __init__(self, finished: Project, folder: Path) -> None:
        self.one = copied(finished, folder / "one")
        self.one.env |= {"PRETEXTBENCH_RECORDED": "1"}
        self.write(TWO_NODES)
        training_here.stage(self.one, "inventory")
        training_here.stage(self.one, "tune", "rotation")
        training_here.stage(self.one, "augment", "rotation")
        shutil.rmtree(self.one.root / "runs/pretrain")
        self.two = checkout(folder / "two", folder / "one" / "site")
        for name in ("data", "runs"):
            shutil.copytree(self.one.root / name, self.two.root / name)
        self.two.env = self.one.env

    def write(self, params: str) -> None:
        for name in ("one", "two"):
            if hasattr(self, name):
                getattr(self, name).settle(params)

    def first(self, place: str, wait: int = 120) -> None:
        """The first node, in this process; its worker is a copy of it. The second node starts all of its own."""
        training_here.train(self.one, "rotation", copies=True, **{agent.RENDEZVOUS: place, agent.WAIT: str(wait)})

    def stage(self, place: str) -> None:
        """The first node, as the stage of DVC, in this process; its worker is a copy too."""
        meeting = {agent.RENDEZVOUS: place, agent.WAIT: "120"}
        training_here.stage(self.one, "pretrain", "rotation", "0", copies=True, **meeting)

    def other(self, place: str, wait: int = 120) -> "subprocess.Popen[str]":
        """The second node, in the second checkout."""
        command = [sys.executable, "-m", "stages.agent", "rotation", "0"]
        env, pipe = {**self.one.env, agent.RENDEZVOUS: place, agent.WAIT: str(wait)}, subprocess.PIPE
        return subprocess.Popen(command, cwd=self.two.root, env=env, stdout=pipe, stderr=pipe, text=True)

    def copy(self, place: str) -> BaseProcess:
        """The second node, in the second checkout, as a copy of this process: so is its worker."""
        meeting = {agent.RENDEZVOUS: place, agent.WAIT: "120"}
        return fork(partial(training_here.train, self.two, "rotation", node=1, copies=True, **meeting))

    def weights(self) -> str:
        card = json.loads((self.one.root / "runs/pretrain/rotation-0/encoder.json").read_text())
        assert (card["images_seen"], card["steps"]) == (320, 20)
        return str(card["weights_sha256"])


@pytest.fixture(scope="module")
def machines(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return Machines(finished, tmp_path_factory.mktemp("machines"))


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    try:
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, err


@pytest.mark.slow
def test_two_nodes_are_two_devices_and_a_lost_node_costs_no_step(
    machines: Machines, capfd: pytest.CaptureFixture[str]
) -> None:
    """One node of two devices, then two nodes of one, of which one is killed: the same bytes in the end."""
    machines.write(PARAMS.replace("TOGETHER", "devices: 2"))
    training_here.train(machines.one, "rotation")
    assert "Warning" not in "".join(capfd.readouterr())
    assert not list((machines.one.root / ".scratch/pretrain").rglob("*.error"))
    expected = machines.weights()
    shutil.rmtree(machines.one.root / "runs/pretrain/rotation-0")
    machines.write(TWO_NODES)

    place, end = f"127.0.0.1:{free_port()}", time.monotonic() + 600  # on a machine that others use as well
    lost = machines.copy(place)
    killer = threading.Thread(target=kill_when_it_has_begun, args=(machines, lost, end))
    killer.start()
    with pytest.raises(UserError, match=r"^rotation-0 ended on one of 2 nodes before its time"):
        machines.first(place)
    killer.join()
    lost.join(240)
    assert lost.exitcode == -signal.SIGKILL

    place = f"127.0.0.1:{free_port()}"
    second = machines.other(place)
    machines.stage(place)
    code, said = ended(second)
    assert code == 0, said[-3000:]
    assert "Warning" not in said
    assert machines.weights() == expected
    assert not (machines.two.root / "runs/pretrain").exists(), "only the first node writes"
    assert not list(machines.two.root.glob(".scratch/pretrain/rotation-0/*"))


def kill_when_it_has_begun(machines: Machines, second: BaseProcess, end: float) -> None:
    """Kill the second node, its agent and its worker, when the first checkpoint is there."""
    while not list(machines.one.root.glob(".scratch/pretrain/rotation-0/*/checkpoint.pt")):
        if time.monotonic() > end or not second.is_alive():
            break  # the test says so
        time.sleep(0.01)
    for child in Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    second.kill()


NOBODY = (
    r"rotation-0 wants 2 nodes \(pretrain\.nodes\), and they did not all meet at 127\.0\.0\.1:\d+ "
    r"within 4 s \(PRETEXTBENCH_NODE_WAIT\)"
)


@pytest.mark.slow
def test_a_node_that_does_not_come_is_one_message(machines: Machines, capfd: pytest.CaptureFixture[str]) -> None:
    machines.write(TWO_NODES)
    with pytest.raises(UserError, match=f"^{NOBODY}"):
        machines.first(f"127.0.0.1:{free_port()}", wait=4)
    assert "Traceback" not in "".join(capfd.readouterr())
    code, said = ended(machines.other(f"127.0.0.1:{free_port()}", wait=4))
    assert code == 2, said[-3000:]
    assert re.search(f"^error: {NOBODY}", said, re.M)
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_mistake_is_told_once_on_each_node(machines: Machines, capfd: pytest.CaptureFixture[str]) -> None:
    machines.write(TWO_NODES.replace("batch_size: 16", "batch_size: 15"))
    place = f"127.0.0.1:{free_port()}"
    second = machines.other(place)
    with pytest.raises(UserError, match=r"^A batch of 15 images does not divide into 2 equal parts"):
        machines.first(place)
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert "does not divide" not in written, "the stage prints the message"
    code, said = ended(second)
    assert code == 2, said[-3000:]
    assert said.count("A batch of 15 images does not divide into 2 equal parts") == 1
    assert "Traceback" not in said
