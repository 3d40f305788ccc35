"""Stages in a second checkout: what they need and make goes through a DVC remote; in the end the first is current."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipelines import checkouts
from pretextbench.errors import UserError
from pretextbench.project import lockfile
from pretextbench.project.locks import take
from tests.pipelines.conftest import Toy, cluster, lay_out, pipeline, results

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")  # from pygtrie, which DVC uses
# Every stage leaves a mark, which is no output: it tells in which checkout it ran.
DIAMOND = """
stages:
  inventory:
    always_changed: true
    cmd: touch here-inventory; echo '{"a":1,"b":2}' > inventory.json
    outs: [inventory.json]
  prepare:
    cmd: touch here-prepare; echo p > prepared
    deps: [inventory.json]
    outs: [prepared]
  pretrain:
    matrix: {method: [a, b]}
    cmd: touch here-${item.method}; mkdir out-${item.method}; cat prepared params.yaml > out-${item.method}/x
    params: [inventory.json: ["${item.method}"], size]
    deps: [prepared]
    outs: ["out-${item.method}"]
  compare:
    cmd: echo $MLFLOW_TRACKING_URI > here-compare; cat out-a/x out-b/x > report
    deps: [out-a, out-b]
    outs: [report]
"""


@pytest.fixture
def two(toy: Toy) -> tuple[Path, Path]:
    """Two checkouts of one project that share a remote and nothing else; the first has other parameters."""
    return lay_out_both(toy(DIAMOND))


def lay_out_both(home: Path) -> tuple[Path, Path]:
    """Give the project in `home` a remote and parameters, and make the second checkout below it."""
    with (home / ".dvc/config").open("a") as config:
        config.write(f"['remote \"shared\"']\n    url = {home / 'remote'}\n")
    away = home / "away"
    away.mkdir()
    for name in (".dvc", "dvc.yaml"):
        (shutil.copytree if (home / name).is_dir() else shutil.copy)(home / name, away / name)
    (home / "params.yaml").write_text("size: 7\n")
    (away / "params.yaml").write_text("size: 1\n")
    return home, away


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, str]]:
    """Two checkouts, and the address of a scheduler whose one worker was started in the second; for all tests here."""
    folder = tmp_path_factory.mktemp("served")
    lay_out(folder, DIAMOND)
    home, away = lay_out_both(folder)
    with cluster(away, copies=True) as address:
        yield home, away, address


def marks(root: Path) -> set[str]:
    return {path.name.removeprefix("here-") for path in root.glob("here-*")}


def status(root: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=root, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_another_checkout_without_a_remote_is_refused(served: tuple[Path, Path, str], server_url: str) -> None:
    home, away, worker = served
    done = pipeline(home, server_url, "--dask", worker)
    assert done.returncode == 2
    assert (results(done)["prepare"], results(done)["compare"]) == ("failed", "not run")
    assert f"works in {os.uname().nodename}:{away}, another checkout" in done.stderr
    assert "--remote NAME" in done.stderr
    assert marks(away) == set()


def test_a_remote_is_one_that_dvc_can_use(two: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"There is no DVC remote 'shard' here\. Found: shared\."):
        checkouts.check_remote("shard", workers=True)
    checkouts.check_remote("shared", workers=True)
    default = r"its default remote, which is none here\. Make it this one: `dvc remote default shared`\."
    with pytest.raises(UserError, match=default):
        checkouts.check_remote("shared", workers=False)


@pytest.mark.slow
def test_stages_run_in_the_other_checkout_and_the_first_is_current(
    served: tuple[Path, Path, str], server_url: str
) -> None:
    home, away, worker = served
    arguments, record = ("--dask", worker, "--remote", "shared"), "http://127.0.0.1:9"
    done = pipeline(home, server_url, *arguments, MLFLOW_TRACKING_URI=record)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert (away / "here-compare").read_text() == f"{record}\n", "the record is one"
    assert list(results(done).values()) == ["ran"] * 5
    assert marks(home) == {"inventory"}
    assert marks(away) == {"prepare", "a", "b", "compare"}
    assert len(re.findall(rf"ran +[\d.]+  \S+:{away}$", done.stdout, re.M)) == 4, "where"
    assert (home / "report").read_text() == "p\nsize: 7\n" * 2, "the parameters have travelled"
    assert status(home) == "inventory:\n\talways changed"
    assert set(yaml.safe_load((home / "dvc.lock").read_text())["stages"]) == set(results(done))

    (home / "params.yaml").write_text("size: 8\n")
    shutil.rmtree(away / ".dvc/cache")  # and of what is current the worker gets what it needs
    for mark in ("prepared", "report", "out-a", "out-b"):
        (shutil.rmtree if (away / mark).is_dir() else os.remove)(away / mark)
    again = pipeline(home, server_url, "--dask", worker, "--remote", "shared")
    assert again.returncode == 0, again.stderr
    assert {name: state for name, state in results(again).items() if state == "up to date"} == {"prepare": "up to date"}
    assert (home / "report").read_text() == "p\nsize: 8\n" * 2


@pytest.mark.slow
def test_a_whole_run_elsewhere_is_restored_at_home(two: tuple[Path, Path], server_url: str) -> None:
    """As by a Prefect worker: what the other checkout has made of the same inputs is fetched, and nothing is run."""
    home, away = two
    (away / "params.yaml").write_text("size: 7\n")
    for root in two:
        (root / ".dvc/config.local").write_text("[core]\n    remote = shared\n")
    assert results(pipeline(away, server_url, "--remote", "shared")) == dict.fromkeys(
        ["inventory", "prepare", "pretrain@a", "pretrain@b", "compare"], "ran"
    )
    done = pipeline(home, server_url, "--remote", "shared")
    assert done.returncode == 0, done.stderr
    restored = dict.fromkeys(["prepare", "pretrain@a", "pretrain@b", "compare"], "restored")
    assert results(done) == {"inventory": "ran", **restored}
    assert marks(home) == {"inventory"}
    assert (home / "report").read_text() == (away / "report").read_text()


def test_entries_are_merged_and_those_that_are_there_stay(two: tuple[Path, Path]) -> None:
    home, _ = two
    checkouts.merge(home, {"one": {"cmd": "echo é"}})
    before = (home / "dvc.lock").stat()
    checkouts.merge(home, {"one": {"cmd": "echo é"}})
    assert (home / "dvc.lock").stat().st_mtime_ns == before.st_mtime_ns, "nothing new: not written"
    other = {"cmd": "x", "outs": [{"path": "p", "md5": "0" * 32}]}
    checkouts.merge(home, {"two": other})
    assert lockfile.read(home) == {"one": {"cmd": "echo é"}, "two": other}
    checkouts.merge(home, {"one": {"cmd": "y"}})
    assert lockfile.read(home) == {"one": {"cmd": "y"}, "two": other}


def test_a_checkout_takes_the_parameters_of_one_run_at_a_time(two: tuple[Path, Path]) -> None:
    home, away = two
    parcel = checkouts.pack(home, "shared", [])
    first = checkouts.settle(away, parcel)
    assert (away / "params.yaml").read_text() == "size: 7\n"
    checkouts.settle(away, parcel).close()  # the same parameters beside it
    (home / "params.yaml").write_text("size: 9\n")
    other = checkouts.pack(home, "shared", [])
    with pytest.raises(UserError, match=r"is at work for a run with another params\.yaml"):
        checkouts.settle(away, other)
    first.close()
    checkouts.settle(away, other).close()
    assert (away / "params.yaml").read_text() == "size: 9\n"
    assert take(away / ".prefect/stages.lock", wait=False) is not None, "nothing is held"


def test_other_code_is_named(two: tuple[Path, Path]) -> None:
    home, away = two
    (away / "stages").mkdir()
    (away / "stages/new.py").touch()
    (away / "stages/README.md").touch()
    with pytest.raises(UserError, match=r"has other code than the one that started the run: stages/new\.py\. Bring"):
        checkouts.settle(away, checkouts.pack(home, "shared", []))
    (away / "stages/new.py").unlink()
    (away / "dvc.yaml").write_text(DIAMOND + "# an edit\n")
    with pytest.raises(UserError, match=rf"^The checkout {away} has other code than .*: dvc\.yaml\."):
        checkouts.settle(away, checkouts.pack(home, "shared", []))
    assert (away / "params.yaml").read_text() == "size: 1\n", "and nothing is touched"


def test_another_version_of_a_plugin_is_refused(tmp_path: Path, install: Callable[..., Path]) -> None:
    site = install("pretext-odd", {"odd": "pretext_odd:Odd"}, {"pretext_odd.py": "class Odd: ...\n"})
    from pretextbench import registry

    (tmp_path / "runs").mkdir()
    result = {"odd": {"source_hash": registry.source_hash(registry.find("odd"))}}
    (tmp_path / "runs/methods.json").write_text(json.dumps(result))
    checkouts.check_methods(tmp_path)
    (site / "pretext_odd.py").write_text("class Odd: ...  # edited\n")
    with pytest.raises(UserError, match="Method 'odd' has other code in the environment of"):
        checkouts.check_methods(tmp_path)
    (tmp_path / "runs/methods.json").write_text(json.dumps({"odder": {"source_hash": "x"}}))
    with pytest.raises(UserError, match="Unknown method 'odder'"):
        checkouts.check_methods(tmp_path)
