"""What a dry run says, and a run with nothing to do."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import graph, staleness
from pipelines.processes import Children
from pipelines.reproduce import run_without_work
from pretextbench.errors import UserError
from tests.pipelines.conftest import lay_out

# From pygtrie, by which DVC looks up who makes a file.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")
STOCK = "import json, yaml; json.dump(yaml.safe_load(open('params.yaml'))['methods'], open('inventory.json', 'w'))"
PIPELINE = f"""
stages:
  inventory:
    always_changed: true
    cmd: python -c "{STOCK}"
    outs: [inventory.json]
  prepare:
    cmd: cp raw prepared
    deps: [raw]
    params: [prepare]
    outs: [prepared]
  pretrain:
    matrix: {{method: [a, b-c], seed: [0, 1]}}
    cmd: mkdir -p runs; cp prepared runs/${{item.method}}-${{item.seed}}
    params: [inventory.json: ["${{item.method}}"]]
    deps: [prepared]
    outs: ["runs/${{item.method}}-${{item.seed}}"]
  compare:
    cmd: cat runs/* > report
    deps: [runs]
    outs: [report]
"""
PARAMS = """
prepare: {image_size: 32, synthetic: {train: 100}}
compare: {methods: [a, b-c], controls: [], seeds: [0, 1]}
methods: {a: {lr: 0.1}, b-c: {lr: 0.2}}
"""


@pytest.fixture(scope="module")
def finished_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project after `dvc repro`."""
    root = tmp_path_factory.mktemp("finished-toy")
    lay_out(root, PIPELINE)
    (root / "raw").write_text("x")
    (root / "params.yaml").write_text(PARAMS)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def project(finished_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which everything is current: a copy of the finished one."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    root = tmp_path / "toy"
    shutil.copytree(finished_toy, root)
    monkeypatch.chdir(root)
    return root


def files(root: Path) -> dict[str, str]:
    """Every file that a user or DVC may look at."""
    kept = [path for path in root.rglob("*") if path.is_file() and ".dvc/tmp" not in str(path)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


ITEMS = ("a-0", "a-1", "b-c-0", "b-c-1")


def messages(*targets: str) -> dict[str, list[str]]:
    """Stage -> reasons, from the text; a first line under the key ''."""
    lines = staleness.explain(graph.read(list(targets))).splitlines()
    results: dict[str, list[str]] = {"": [lines[0]]}
    keys: list[str] = []
    for line in lines[2:]:
        name, _, reason = line.partition("  ")
        if name:
            of, _, rest = reason.strip().partition(": ")
            items = of.split(", ") if set(of.split(", ")) <= set(ITEMS) else []
            keys, reason = [f"{name}@{item}" for item in items] or [name], rest if items else reason
        for key in keys:
            results.setdefault(key, []).append(reason.strip())
    return results


def test_with_nothing_stale_it_says_so(project: Path) -> None:
    before = files(project)
    assert messages() == {
        "": ["All 7 stages are current; inventory always runs. Nothing was changed."],
    }
    assert files(project) == before


def test_a_changed_parameter_is_told_with_both_values_and_what_follows_from_it(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("image_size: 32", "image_size: 64"))
    before = files(project)
    assert messages() == {
        "": ["6 of 7 stages would run; inventory always runs. Nothing was changed."],
        "prepare": ["prepare.image_size: 32 -> 64"],
        **{f"pretrain@{run}": ["needs prepare"] for run in ("a-0", "a-1", "b-c-0", "b-c-1")},
        "compare": ["needs pretrain"],
    }
    assert files(project) == before


def test_what_the_inventory_finds_is_told(project: Path) -> None:
    """The parameters of a method reach its stages by the file that the inventory writes."""
    (project / "params.yaml").write_text(PARAMS.replace("lr: 0.2", "lr: 0.3, steps: null"))
    changes = ["inventory.json: b-c.lr: 0.2 -> 0.3", "inventory.json: b-c.steps: nothing -> null"]
    before = files(project)
    results = messages()
    assert files(project) == before  # a run that is at work now reads the file of its own inventory
    assert set(results) == {"", "pretrain@b-c-0", "pretrain@b-c-1", "compare"}, "its file is new by it, not by hand"
    assert results["pretrain@b-c-0"] == results["pretrain@b-c-1"] == changes
    assert set(messages("pretrain@a-0")) == {""}


def test_changed_inputs_missing_outputs_and_commands_are_told(project: Path) -> None:
    (project / "raw").write_text("y")
    (project / "runs/a-0").unlink()
    (project / "report").write_text("mine")
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat runs/*", "cat  runs/*"))
    results = messages()
    assert results["prepare"] == ["changed raw"]
    assert results["pretrain@a-0"] == ["missing output runs/a-0", "needs prepare"]
    assert results["compare"][:2] == ["changed command", "output report was changed by hand"]
    assert "changed runs" not in results["compare"]


def test_in_a_clean_clone_the_stages_of_a_kind_have_one_line(project: Path) -> None:
    """What the others need, and files that the inventory has just written, explain nothing there."""
    (project / "dvc.lock").unlink()
    (project / "inventory.json").unlink()
    assert staleness.explain(graph.read([])).splitlines() == [
        "6 of 7 stages would run; inventory always runs. Nothing was changed.",
        "",
        "prepare   has not run yet",
        "pretrain  a-0, a-1, b-c-0, b-c-1: has not run yet",
        "compare   has not run yet",
    ]
    assert not (project / "inventory.json").exists(), "what the inventory wrote leaves again"


def test_in_a_clone_with_the_lock_file_alone_nothing_was_changed_by_hand(project: Path) -> None:
    """Its outputs are not there yet, and those of the inventory appear while it is asked."""
    for name in ("prepared", "report", "inventory.json"):
        (project / name).unlink()
    shutil.rmtree(project / "runs")
    told = staleness.explain(graph.read([]))
    assert "by hand" not in told
    assert "prepare   missing output prepared\n" in told


def test_a_section_that_is_new_is_named_and_not_shown_whole(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("synthetic: {train: 100}", "synthetic: null, more: {a: 1}"))
    assert messages("prepare")["prepare"] == [
        "prepare.synthetic is another section", "prepare.more is new",
    ]  # fmt: skip


def test_lines_fit_a_narrow_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    (project / "dvc.lock").unlink()
    lines = staleness.explain(graph.read([])).splitlines()[2:]
    assert max(map(len, lines)) <= 40
    assert lines[1:3] == ["pretrain  a-0, a-1, b-c-0, b-c-1: has", "          not run yet"]


def test_a_stage_that_is_not_there_is_refused_with_the_nearest(project: Path) -> None:
    with pytest.raises(
        UserError, match=r"^There is no stage 'pretrain@a-9'\. Did you mean 'pretrain@a-\d'\? .*compare"
    ):
        graph.read(["prepare", "pretrain@a-9"])


def test_a_mistake_that_the_inventory_finds_is_a_mistake(project: Path) -> None:
    (project / "fails.py").write_text("raise SystemExit('error: lr is -1. Allowed: above 0.')")
    (project / "dvc.yaml").write_text(PIPELINE.replace(STOCK, "import fails"))
    with pytest.raises(UserError, match=r"^lr is -1\. Allowed: above 0\.$"):
        messages()


@pytest.mark.parametrize(
    ("old", "new", "results"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("x.a.b", 1, 2)]),
        ({"a": 1}, {"a": 1}, []),
        ({"a": [1, 2]}, {"a": (1, 2)}, []),
        ({"a": {"b": 1}}, {"a": None}, [("x.a", {"b": 1}, None)]),
        ({"a": 1}, {}, [("x.a", 1, staleness.ABSENT)]),
    ],
)
def test_differences_are_told_where_they_are(old: Any, new: Any, results: list[tuple[str, Any, Any]]) -> None:
    assert list(staleness.differences("x", old, new)) == results


def test_processes_that_were_killed_are_no_warning(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """DVC keeps a list of who is at work where, and a second Ctrl-C leaves entries in it."""
    killed = {"pid": 2**22 + 1, "cmd": "dvc repro report"}
    (project / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(project / "report"): killed}, "read": {}}))
    (project / "report").unlink()
    assert graph.stale(["compare"]) == {"compare"}
    assert "report" not in (project / ".dvc/tmp/rwlock").read_text(), "DVC has met it"
    assert [record for record in caplog.records if record.name == "dvc.rwlock"] == []


def test_a_run_with_nothing_to_do_needs_no_prefect(project: Path) -> None:
    ended = run_without_work(graph.read([]), Children(project))
    assert ended is not None
    assert {result.stage: result.state for result in ended} == {
        node.name: "ran" if node.name == "inventory" else "up to date" for node in graph.read([])
    }


def test_what_the_inventory_finds_leaves_the_work_to_the_flow(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("lr: 0.2", "lr: 0.3"))
    assert graph.stale([node.name for node in graph.read([]) if not node.always]) == set(), "not known before"
    assert run_without_work(graph.read([]), Children(project)) is None


def test_an_inventory_that_fails_leaves_its_message_to_the_flow(project: Path) -> None:
    (project / "dvc.yaml").write_text(PIPELINE.replace(STOCK, "raise SystemExit(2)"))
    assert run_without_work(graph.read([]), Children(project)) is None


def test_something_stale_runs_nothing_here(project: Path) -> None:
    (project / "report").unlink()
    (project / "inventory.json").unlink()
    assert run_without_work(graph.read([]), Children(project)) is None
    assert not (project / "inventory.json").exists()
