"""What docs/security.md promises: names become no code, path, markup or shell word; nothing is served or told."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import server
from pretextbench import track
from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import Params, load
from pretextbench.project import environment, layout
from pretextbench.report.html import MARKDOWN, PAGES
from stages import arguments
from stages.lifecycle import single_process

CODE = Path(__file__).resolve().parents[1]
NAMES = [
    *("; touch evil", "$(touch evil)", "`touch evil`", "a b", "../../evil", "/etc/passwd", "a/b", "..", ".", "-rf"),
    *(
        "--help",
        "<script>",
        "a: b",
        "&anchor",
        "*",
        "simclr\n",
        "simclr\x00",
        "Simclr",
        "",
        "é",
        "${item.seed}",
        "a--b",
    ),
]


@pytest.fixture(autouse=True)
def _watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody breaks in."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("burgled"))
    assert not list(tmp_path.parent.glob("evil*"))


# Names.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tree", [lambda n: {"compare": {"methods": [n]}}, lambda n: {"methods": {n: {}}}])
def test_hostile_names_of_methods_are_refused(name: str, tree: Callable[[str], Any]) -> None:
    with pytest.raises(UserError, match=r"has \d+ mistakes?:"):
        parse(Params, tree(name), "params.yaml")


@pytest.mark.parametrize("seed", ["0; touch evil", "../0", -1, "x", 0.5, [0]])
def test_hostile_seeds_are_refused(seed: object) -> None:
    with pytest.raises(UserError, match=r"has \d+ mistakes?:"):
        parse(Params, {"compare": {"seeds": [seed]}}, "params.yaml")


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch burgled']", "a: !!python/name:os.system"])
def test_params_are_plain_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match="is not valid YAML"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b"])
def test_hostile_words_of_a_stage_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stages evaluate", name, "0"])
    with pytest.raises((SystemExit, UserError)):
        arguments.method_and_seed("evaluate", "Judge.")


@pytest.mark.parametrize("name", ["../../evil", "evaluate /etc/x", "a\nb", "..", "x" * 20 + "/../../evil"])
def test_locks_stay_in_their_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SCRATCH", tmp_path / "scratch")
    with single_process(name):
        (lock,) = (tmp_path / "scratch" / "locks").iterdir()
    assert lock.suffix == ".lock"


def test_the_report_escapes_what_it_is_given() -> None:
    """Beside tests/report/test_html.py, which renders a whole report of hostile names."""
    evil = "<script>alert(1)</script>"
    assert "<script" not in PAGES.from_string('<p title="{{ x }}">{{ x }}</p>').render(x=evil + "\"'")
    assert "<script" not in MARKDOWN.render(f"{evil}\n\n**{evil}** ![x](http://e.example) [y](javascript:alert(1))")
    assert "<img" not in MARKDOWN.render("![x](http://e.example/x.png)")


@pytest.mark.slow
def test_a_hostile_params_file_reaches_no_shell(tmp_path: Path) -> None:
    """The inventory, which every stage waits for, refuses it before DVC runs a command with the name."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text((CODE / "dvc.yaml").read_text())
    (tmp_path / "stages").mkdir()
    shutil.copy(CODE / "stages/run.sh", tmp_path / "stages/run.sh")
    params = (CODE / "params.yaml").read_text().replace("[simclr, colorization]", '["simclr; touch burgled #"]')
    (tmp_path / "params.yaml").write_text(params)
    env = {**os.environ, "PYTHONPATH": str(CODE), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dvc", "repro", "--keep-going"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "compare.methods.0: needs a name of lower-case" in done.stdout + done.stderr


# Servers and telemetry.


def test_the_prefect_server_listens_on_loopback_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def popen(command: list[str], pass_fds: tuple[int, ...], env: dict[str, str], **_: object) -> None:
        with socket.socket(fileno=os.dup(pass_fds[0])) as listener:
            seen.append((listener.getsockname(), env))

    monkeypatch.setattr(server.subprocess, "Popen", popen)
    lock = server.take(tmp_path / "server.lock")
    assert lock is not None
    url = server._start(tmp_path, lock)
    ((address, port), env) = seen[0]
    assert address == "127.0.0.1"
    assert url == f"http://127.0.0.1:{port}/api"
    assert env[server.ORIGINS] == f"http://127.0.0.1:{port}"  # and no page from elsewhere may talk to it


TOLD = """if True:
    from pretextbench.project.environment import quiet_tools
    quiet_tools()
    import inspect, click, mlflow.cli, mlflow.telemetry.utils, prefect.settings
    assert mlflow.telemetry.utils.is_telemetry_disabled()
    assert not prefect.settings.get_current_settings().server.analytics_enabled
    (ui,) = (c for n, c in mlflow.cli.cli.commands.items() if n == "server")
    assert next(p.default for p in ui.params if p.name == "host") == "127.0.0.1"
    from prefect.server.api.server import create_app
    import os
    app = create_app(ephemeral=True, final=True)
    (cors,) = (m for m in app.user_middleware if m.cls.__name__ == "CORSMiddleware")
    assert cors.kwargs["allow_origins"] == [os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]], cors
    print("good")
"""


@pytest.mark.slow
def test_the_tools_understand_what_they_are_told(tmp_path: Path) -> None:
    """The switches, the host that `mlflow ui` listens on unless told another, and the origins of our server."""
    env = {k: v for k, v in os.environ.items() if k not in environment.SWITCHES}
    env |= {server.ORIGINS: "http://127.0.0.1:9", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", TOLD], env=env, capture_output=True, text=True)
    assert done.stdout.strip().endswith("good"), done.stderr


def test_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    environment.quiet_tools()
    assert {name: os.environ[name] for name in environment.SWITCHES} == environment.SWITCHES
    for name in ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "PREFECT_SERVER_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY"):
        assert name in environment.SWITCHES
    assert "analytics = false" in (CODE / ".dvc" / "config").read_text()


# The encoder in MLflow, which is read by whoever wants it.

SHARED = """if True:
    import os, zipfile, mlflow.pytorch, torch
    from pathlib import Path
    from pretextbench.encoder import build
    from pretextbench.params import EncoderParams
    encoder = build(EncoderParams(width=4), 16, (0.5,) * 3, (0.2,) * 3).eval()
    example = torch.rand(2, 3, 16, 16)
    mlflow.pytorch.save_model(encoder, "model", input_example=example.numpy(), pip_requirements=["torch"],
                              serialization_format="pt2")
    torch.testing.assert_close(mlflow.pytorch.load_model("model")(example), encoder(example))
    (path,) = Path("model").rglob("*.pt2")
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    class Burglar:
        def __reduce__(self):
            return os.system, ("touch burgled",)
    torch.save(Burglar(), "plant")
    name = next(name for name in content if "sample_inputs" in name and name.endswith(".pt"))
    content[name] = Path("plant").read_bytes()
    with zipfile.ZipFile(path, "w") as new:
        for name in content:
            new.writestr(name, content[name])
    try:
        mlflow.pytorch.load_model("model")
    except mlflow.MlflowException as error:
        print("refused", str(error)[:60])
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.export, MLflow and zipfile, as a program has them
def test_a_shared_encoder_loads_where_pickles_are_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours, logged as track/model.py logs it, needs none; one with a planted pickle is refused, if MLflow is told."""
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.chdir(tmp_path)
    exec(SHARED, {})
    assert "refused Deserializing model using pickle is disallowed" in capsys.readouterr().out


# Secrets.

SECRET = "hunter2"
ADDRESSES = [f"http://me:{SECRET}@127.0.0.1:9", f"postgresql://me:{SECRET}@127.0.0.1:9/x", f"sqlite:///x?key={SECRET}"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_address_of_the_store_is_told_without_its_password(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    broken = (
        "import sys; from pretextbench.track.__main__ import CensoredStream;"
        "CensoredStream(sys.stderr).write(sys.argv[1])"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{broken}" {shlex.quote(address)}\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    assert track.record(track.Record("k", "simclr-0"), tmp_path) is None
    assert "the record is kept" in caplog.text
    assert SECRET not in caplog.text
    python.unlink()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]


def test_the_report_tells_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import compare

    (tmp_path / "params.yaml").write_text("{}")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, ADDRESSES[0])
    assert SECRET not in json.dumps(compare.recipe([]))
