"""`pretextbench check`: a verdict for each rule, what to do for each failure, and a status that CI can use."""

import json

import pytest

from pretextbench import testing
from tests.command.conftest import Type
from tests.conftest import Install

SOUND = """
from torch import nn
from pretextbench.method import Loss, PretextMethod
class Ours(PretextMethod):
    '''Ours.'''
    api_version = 1
    reference = "none"
    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, 3)
    def loss(self, batch):
        x = batch.views[0]
        return Loss((self.head(self.encoder(x)).float() - x.mean((2, 3))).square().mean())
"""
TORN = SOUND.replace('reference = "none"', 'reference = ""')


def ours(install: Install, source: str) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": source})


def test_a_sound_method_has_no_failure(typed: Type, install: Install) -> None:
    ours(install, SOUND)
    result = typed("check", "ours")
    assert result.code == 0
    assert all(name in result.out for name in testing.CHECKS)
    assert "0 failed" in result.out
    assert "What to do" not in result.out


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks instead of all: what they find is printed in the same way."""
    names = ("api_version", "described", "quiet")
    monkeypatch.setattr(testing, "CHECKS", {name: testing.CHECKS[name] for name in names})


@pytest.mark.usefixtures("few")
def test_a_failure_says_what_was_found_and_what_to_do(typed: Type, install: Install) -> None:
    ours(install, TORN)
    result = typed("check", "ours")
    assert result.code == 1
    assert "described failed: `reference` is empty." in result.out
    assert "What to do: Name the paper, or say that there is none." in result.out
    assert "1 failed" in result.out


@pytest.mark.usefixtures("few")
def test_json_holds_every_verdict_and_nothing_else_is_printed(typed: Type, install: Install) -> None:
    ours(install, TORN)
    result = typed("check", "ours", "--json")
    (actual,) = json.loads(result.out).values()
    assert result.code == 1
    assert [verdict["check"] for verdict in actual] == list(testing.CHECKS)
    assert [verdict["check"] for verdict in actual if verdict["state"] == "failed"] == ["described"]
    assert set(actual[0]) == {"check", "meaning", "state", "seconds", "found", "hint"}


def test_an_unknown_name_brings_the_nearest(typed: Type) -> None:
    result = typed("check", "rotaton")
    assert result.code == 2
    assert result.message.startswith("Unknown method 'rotaton'. Did you mean 'rotation'?")


def test_a_control_is_not_judged(typed: Type) -> None:
    result = typed("check", "random")
    assert result.code == 2
    assert "'random' is a control" in result.message


def test_a_method_that_does_not_import_ends_its_own_check(typed: Type, install: Install) -> None:
    ours(install, "1 / 0")
    result = typed("check", "ours")
    assert result.code == 2
    assert "does not import: ZeroDivisionError" in result.message


def test_without_a_name_all_are_judged_and_a_broken_one_stops_none(
    typed: Type, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours(install, "1 / 0")
    monkeypatch.setattr(testing, "CHECKS", {"api_version": testing.CHECKS["api_version"]})
    result = typed("check")
    assert result.code == 1
    for name in ("simclr: 1 ok", "rotation: 1 ok", "ours: 0 ok, 0 skipped, 1 failed"):
        assert name in result.out
    assert "random" not in result.out
    assert "loads failed: method 'ours'" in result.out
