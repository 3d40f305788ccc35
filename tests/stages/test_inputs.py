"""A stage whose inputs were changed while it was at work is not committed, and says so in one sentence."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretextbench import registry
from pretextbench.errors import UserError
from pretextbench.project import layout
from stages import inputs, lifecycle, pretrain

PIPELINE = """
stages:
  pretrain:
    matrix: {method: [rotation], seed: [0]}
    cmd: python -m stages pretrain ${item.method} ${item.seed}
    deps: [code, data/images, "runs/augment/${item.method}/policy.json"]
    params:
      - runs/settings.json: [pretrain, versions.pretrain]
      - runs/methods.json: ["${item.method}"]
"""
SETTINGS = {"pretrain": {"images": 10}, "evaluate": {"knn_k": 20}, "versions": {"pretrain": {}, "evaluate": {}}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline in the working folder, and this process as DVC starts its stage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "pretrain@rotation-0")
    monkeypatch.setattr(sys, "argv", ["stages pretrain", "rotation", "0"])
    monkeypatch.setattr(inputs, "_at_start", {})
    for folder in ("code/below", "data/images", "runs/augment/rotation", "runs/augment/simclr"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "runs/settings.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "runs/methods.json").write_text(json.dumps({"rotation": {"params": {}}, "simclr": {"params": {}}}))
    for name in ("code/loop.py", "code/below/x.py", "runs/augment/rotation/policy.json", "elsewhere.py"):
        (tmp_path / name).write_text("1\n")
    images = tmp_path / "data/images/images.npy"
    images.write_bytes(b"0" * (inputs.HASHED + 1))
    os.utime(images, (1, 1))  # clocks of file systems have ticks of milliseconds
    return tmp_path


def settings(**sections: object) -> Callable[[Path], object]:
    return lambda root: (root / "runs/settings.json").write_text(json.dumps({**SETTINGS, **sections}))


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(text)


def methods(content: dict) -> Callable[[Path], object]:
    return write("runs/methods.json", json.dumps(content))


def test_a_row_at_another_budget_depends_on_the_method_of_its_row(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_budget = PIPELINE.replace("  pretrain:\n", "  pretrain-budget:\n").replace(
        "seed: [0]", "images: [64], seed: [0]"
    )
    (project / "dvc.yaml").write_text(at_budget.replace("${item.method} ", "${item.method}-${item.images} "))
    monkeypatch.setenv("DVC_STAGE", "pretrain-budget@rotation-64-0")
    monkeypatch.setattr(sys, "argv", ["stages pretrain", "rotation-64", "0"])
    inputs.begin()
    inputs.check()
    write("runs/augment/rotation/policy.json", "{}")(project)
    with pytest.raises(UserError, match=r"runs/augment/rotation/policy\.json was changed"):
        inputs.check()


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (write("code/loop.py", "2\n"), "code/loop.py was changed"),
        (write("code/below/x.py", "2\n"), "code/below/x.py was changed"),
        (write("code/new.py", ""), "code/new.py was changed"),
        (lambda root: (root / "code/loop.py").unlink(), "code/loop.py was changed"),
        (write("runs/augment/rotation/policy.json", "{}"), "policy.json was changed"),
        (lambda root: (root / "data/images/images.npy").write_bytes(b"1" * (inputs.HASHED + 1)), "images.npy was"),
        (settings(pretrain={"images": 20}), "pretrain in runs/settings.json was changed"),
        (settings(versions={"pretrain": {"torch": "9"}}), "versions.pretrain in runs/settings.json was changed"),
        (methods({"rotation": {"params": {"padding": 2}}}), "rotation in runs/methods.json was changed"),
    ],
)
def test_what_was_changed_is_named(edit: Callable[[Path], object], named: str, project: Path) -> None:
    inputs.begin()
    edit(project)
    with pytest.raises(
        UserError, match=r"while this stage was at work.* not committed. Run `dvc repro` again"
    ) as caught:
        inputs.check()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: None,
        write("code/loop.py", "1\n"),  # written again
        write("elsewhere.py", "2\n"),
        write("code/.loop.py.swp", "an editor's"),
        write("runs/augment/simclr/policy.json", "{}"),
        settings(evaluate={"knn_k": 3}, params_yaml="# text"),
        methods({"rotation": {"params": {}}, "simclr": {"params": {"temperature": 1}}}),
    ],
)
def test_what_the_stage_does_not_depend_on_may_change(edit: Callable[[Path], object], project: Path) -> None:
    inputs.begin()
    edit(project)
    inputs.check()


def test_the_code_of_a_plugin_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs.begin()
    monkeypatch.setattr(registry, "source_hash", lambda plugin: "another")
    with pytest.raises(UserError, match="the code of the method rotation was changed"):
        inputs.check()


def test_a_stage_that_nobody_commits_is_not_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE")
    inputs.begin()
    write("code/loop.py", "2\n")(project)
    inputs.check()


def test_a_training_of_changed_inputs_is_forgotten(project: Path) -> None:
    """Else the next run would take the copy of its outputs for a training of the new code."""
    copy = layout.training_scratch("rotation", 0) / "key" / "finished"
    copy.mkdir(parents=True)
    inputs.begin()
    pretrain.check_inputs("rotation", 0)
    assert copy.is_dir()
    write("code/loop.py", "2\n")(project)
    with pytest.raises(UserError, match="not committed"):
        pretrain.check_inputs("rotation", 0)
    assert not copy.exists()


def test_the_code_is_read_before_it_is_imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an edit between the import and the first step would name a checkpoint of the old code after the new."""
    called: list[bool] = []
    monkeypatch.setattr(inputs, "code_digest", lambda: called.append(True))
    inputs.begin()
    assert called


def test_many_changes_are_counted(project: Path) -> None:
    inputs.begin()
    for number in range(9):
        write(f"code/{number}.py", "")(project)
    with pytest.raises(UserError, match=r"^code/0.py, code/1.py, code/2.py and 6 more were changed"):
        inputs.check()


def test_the_status_of_the_stage_is_that_of_a_mistake(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So DVC commits nothing."""
    assert lifecycle.run("pretrain", lambda: None, flow=False) == 0
    assert lifecycle.run("pretrain", lambda: write("code/loop.py", "2\n")(project) and None, flow=False) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: code/loop.py was changed while this stage was at work")
