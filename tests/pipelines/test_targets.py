"""Which stages `--only` and `--methods` choose, and which follow from a stale one."""

from pathlib import Path

import pytest

from pipelines import graph
from pretextbench.errors import UserError
from pretextbench.project import run_options

STAGES = ["prepare", "augment@a", "augment@a-b", "pretrain@a-0", "pretrain@a-b-0", "pretrain@a-1", "compare"]


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("compare: {methods: [a, a-b, rotation], controls: [random], seeds: [0, 1]}")


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize(
    ("methods", "stages"),
    [
        (["a"], ["augment@a", "pretrain@a-0", "pretrain@a-1"]),
        (["a-b"], ["augment@a-b", "pretrain@a-b-0"]),
        (["a-b", "a"], STAGES[1:-1]),
    ],
)
def test_the_stages_of_methods_are_chosen(methods: list[str], stages: list[str]) -> None:
    assert graph.targets(methods, STAGES) == stages


@pytest.mark.usefixtures("compared")
def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no method 'rotatoin' in this comparison\. Did you mean 'rotation'\? .*a-b,"):
        graph.targets(["a", "rotatoin"], STAGES)


def test_the_words_of_the_command_line() -> None:
    options = run_options.arguments(["--only", "a", "--methods", "b, c", "--dry-run", "prepare"])
    assert (options.only, options.methods, options.dry_run, options.targets) == ("a", ["b", "c"], True, ["prepare"])


def test_what_follows_from_a_stale_stage_may_run_too() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b",), "d": ()}
    nodes = [graph.Node(name, need, always=False) for name, need in needs.items()]
    assert graph.may_run(nodes, {"b"}) == {"b", "c"}
    assert graph.may_run(nodes, set()) == set()
