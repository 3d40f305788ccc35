"""Parameters of methods: their mistakes carry their place, and their defaults are checked."""

import pytest
from pydantic import Field

from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import MethodParams


class Own(MethodParams):
    """A plugin's parameters."""

    strength: float = Field(0.5, ge=0, le=1)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(UserError, match=r"methods.own.optimizer: `nesterov: true` needs a `momentum` above 0, found 0"):
        parse(Own, {"optimizer": {"name": "sgd", "nesterov": True, "momentum": 0}}, "params.yaml", "methods.own")


def test_a_methods_mistakes_carry_their_place() -> None:
    with pytest.raises(UserError) as caught:
        parse(Own, {"strenght": 1, "optimizer": {"lr": -1, "momentun": 0}}, "params.yaml", "methods.own")
    head, *lines = str(caught.value).splitlines()
    assert head == "params.yaml has 3 mistakes:"
    assert lines[0].startswith("  methods.own.optimizer.lr: Input should be greater than 0 (found -1)")
    assert lines[1].startswith(
        "  methods.own.optimizer.momentun: unknown key. Did you mean 'momentum'? Allowed: name, lr,"
    )
    assert lines[2].startswith("  methods.own.strenght: unknown key. Did you mean 'strength'? Allowed: batch")


def test_no_parameters_are_the_defaults() -> None:
    assert parse(Own, None, "params.yaml") == Own()


def test_defaults_are_checked_too() -> None:
    class Wrong(MethodParams):
        strength: float = Field(2.0, le=1)

    with pytest.raises(UserError, match=r"strength: Input should be less than or equal to 1 \(found 2\.0\)"):
        parse(Wrong, {}, "params.yaml")
