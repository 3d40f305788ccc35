"""Every installed method passes every check of the kit, and trains as it did when its curve was written down."""

import json
from pathlib import Path

import pytest

from pretextbench import registry, testing
from pretextbench.testing.bench import advance, build

CONTROLS = {"random", "supervised"}  # they are not pretext methods: one learns nothing, one learns from labels
METHODS = sorted(set(registry.available()) - CONTROLS)
GOLDEN = Path(__file__).parent / "golden"
STEPS = 20


def test_there_are_methods():
    """An empty list would make the tests below a silent skip."""
    assert {"simclr", "rotation"} <= set(METHODS)


@pytest.mark.parametrize("check", testing.CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_contract(name, check):
    testing.CHECKS[check](registry.load(name))


@pytest.mark.parametrize("name", METHODS)
def test_loss_curve(name):
    """Twenty steps of the project's own loop on the kit's images, float32 on the CPU, against the curve on file.

    The first steps agree to 1e-4 on every machine; rounding differs between instruction sets and grows with the steps.
    A change that is meant to change a curve rewrites the file: `python -m tests.golden NAME`.
    """
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    found = advance(build(registry.load(name), steps=STEPS), STEPS)
    assert found[:3] == pytest.approx(expected[:3], rel=1e-4, abs=1e-6)
    assert found == pytest.approx(expected, rel=2e-2, abs=1e-4)
