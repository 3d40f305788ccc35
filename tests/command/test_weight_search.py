"""Weights that can be had: what is given, what caches have, which server answers; nothing hangs or is downloaded."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretextbench.command import weight_search
from pretextbench.command.cost import Profile
from pretextbench.command.weight_search import Candidate, cached, candidates, search, unreachable
from pretextbench.errors import UserError
from tests.command.conftest import away_from_weights


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away_from_weights(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)


def test_what_is_given_is_a_file_a_folder_or_a_name(tmp_path: Path) -> None:
    (tmp_path / "own.pth").touch()
    (tmp_path / "folder").mkdir()
    for text, name in (
        ("own.pth", f"{tmp_path}/own.pth"),
        ("folder", f"{tmp_path}/folder/"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("torchvision/resnet18", "torchvision/resnet18"),
    ):
        assert candidates(text, None, Profile.quick).candidates == (Candidate(name, "option"),)
    assert candidates("none", None, Profile.gpu).candidates == ()


@pytest.mark.parametrize(
    ("text", "network", "message"),
    [
        ("no.pth", None, r"--weights: there is no file or folder .*no\.pth"),
        ("resnet18", None, "write timm/resnet18 or torchvision/resnet18"),
        ("non", None, "Did you mean 'none'"),
        ("timm/resnet18.pth", None, "there is no file or folder"),
        ("notes.txt", None, r"is no file of weights. Allowed: \.safetensors"),
        ("timm/resnet18", "timm/resnet18", "Leave one out"),
        (None, "timm/resnet18", "give the file with --weights"),
        ("\udcff.pth", None, "not written in UTF-8"),
    ],
)
def test_what_is_neither_is_refused(text: str | None, network: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=message):
        candidates(text, network, Profile.quick)


def keep(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def test_caches_are_listed_preferred_networks_first(tmp_path: Path) -> None:
    hub, checkpoints = tmp_path / "hugging/hub", tmp_path / "torch/hub/checkpoints"
    keep(hub / "models--timm--resnet50.a1_in1k/snapshots/ab/model.safetensors", 3)
    keep(hub / "models--timm--tiny.x/snapshots/ab/pytorch_model.bin", 1)
    keep(hub / "models--bert--base/snapshots/ab/model.safetensors", 1)
    keep(checkpoints / "resnet18-f37072fd.pth", 2)
    keep(checkpoints / "mine.pth", 1)
    broken = hub / "models--timm--broken.x/snapshots/ab/model.safetensors"
    broken.parent.mkdir(parents=True)
    broken.symlink_to(tmp_path / "blob")
    (hub / "models--timm--folder.x/snapshots/ab/model.safetensors").mkdir(parents=True)
    names = ["torchvision/resnet18", "timm/resnet50.a1_in1k", "timm/tiny.x"]
    assert [candidate.name for candidate in cached(weight_search.SMALL)] == names
    assert [candidate.name for candidate in cached(weight_search.LARGE)][:2] == [names[1], names[0]]
    assert cached(weight_search.SMALL)[0] == Candidate(names[0], "cache", "resnet18-f37072fd.pth")
    assert len(search(Profile.quick).candidates) == 3


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        (Profile.quick, []),
        (Profile.standard, ["timm/resnet18.a1_in1k"]),
        (Profile.multi_gpu, ["timm/resnet50.a1_in1k", "timm/vit_small_patch14_dinov2.lvd142m"]),
    ],
)
def test_a_server_that_answers_is_counted_in(
    profile: Profile, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search(profile).candidates == ()
    assert "huggingface.co cannot be reached (HF_HUB_OFFLINE is set)" in search(profile).looked
    monkeypatch.setattr(weight_search, "unreachable", lambda address: "")
    assert [candidate.name for candidate in search(profile).candidates] == names
    assert search(profile).looked.endswith("huggingface.co can be reached")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no timm
    ours = [name.replace("timm/", "torchvision/").partition(".")[0] for name in names[:1]]
    assert [candidate.name for candidate in search(profile).candidates] == ours


class Answers(http.server.BaseHTTPRequestHandler):
    """Status 200, or the number that is the path; what is asked by other verbs than HEAD is an error of the test."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.strip("/") or 200))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("path", "reason"), [("", ""), ("404", ""), ("401", ""), ("503", "it answers 503")])
def test_a_server_is_in_reach_where_it_answers(
    path: str, reason: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unreachable(address) == "HF_HUB_OFFLINE is set"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert unreachable(address + path) == reason


def test_a_server_that_is_silent_or_closed_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert unreachable(f"http://127.0.0.1:{port}/", 0.2) in ("no answer in 0.2 s", "timed out")
    assert unreachable(f"http://127.0.0.1:{port}/") == "Connection refused"


def test_a_name_that_is_looked_up_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    looked_up, tested = threading.Event(), threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: tested.wait(300) and looked_up.set())
    assert unreachable("http://example.invalid/", 0.2) == "no answer in 0.2 s"
    assert not looked_up.is_set()
    tested.set()
