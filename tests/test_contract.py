"""Every installed method passes every check of the kit, and trains as it did when its curve was written down."""

import json
import math
import runpy
from pathlib import Path

import pytest
import torch

from pretextbench import registry, testing
from pretextbench.encoder import TokenEncoder
from pretextbench.params import EncoderParams
from pretextbench.testing.bench import advance, build
from pretextbench.testing.machines import gaps_of_two_processes
from tests.forms import FORMS, OneGroup

CONTROLS = {"random", "pixels", "untouched", "supervised"}  # no pretext methods: one learns, and from labels
METHODS = sorted(set(registry.available()) - CONTROLS)
GOLDEN = Path(__file__).parent / "golden"
STEPS = 20


def test_there_are_methods():
    """An empty list would make the tests below a silent skip."""
    assert {
        "simclr",
        "vicreg",
        "mae",
        "barlow-twins",
        "byol",
        "lejepa",
        "swav",
        "dino",
        "moco",
        "simsiam",
        "nnclr",
        "rotation",
        "denoising",
        "context-encoder",
        "colorization",
        "jigsaw",
        "relative-location",
    } <= set(METHODS)


SLOW = {"resumes": pytest.mark.slow}  # seconds, of each method
# `learns` takes thirty steps: `test_loss_curve` holds that the loss falls in the twenty that it takes.
# `two_processes` is held to a tighter limit, and for all methods, by `test_two_processes_equal_one`.
ELSEWHERE = {"learns", "two_processes"}
HERE = [pytest.param(name, marks=SLOW.get(name, ())) for name in testing.CHECKS if name not in ELSEWHERE]


@pytest.mark.parametrize("check", HERE)
@pytest.mark.parametrize("name", METHODS)
def test_contract(name, check):
    testing.CHECKS[check](registry.load(name))


TWO = "{0.__name__}-two_processes".format  # conftest.py puts them together by this end


@pytest.mark.slow
@pytest.mark.parametrize("method", [*map(registry.load, sorted({*METHODS} - {"moco"})), OneGroup, *FORMS], ids=TWO)
def test_two_processes_equal_one(method):
    """In float64, and for the batch norms of methods that do not communicate too.

    MoCo v2 without groups: two processes form other groups, see fidelity.md.
    """
    _, gaps = gaps_of_two_processes(method)
    limits = {name: 1e-6 if name.endswith("loss") else 1e-10 for name in gaps}  # some losses are float32
    assert all(gap < limits[name] for name, gap in gaps.items()), gaps


LOSSES = [
    "gradients_reach",
    "gradients_stay",
    "buffers_staged",
    "batch_of_one",
    "half_precision",
    "same_seed",
]


@pytest.mark.parametrize("check", [*LOSSES, pytest.param("resumes", marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_a_method(form, check):
    """The checks of its loss and its state, with the parameters that make it another method."""
    testing.CHECKS[check](form)


@pytest.mark.parametrize("name", METHODS)
def test_loss_curve(name):
    """Twenty steps of the project's own loop on the kit's images, float32 on the CPU, against the curve on file.

    Rounding differs between machines (and numbers of threads), and training amplifies it about fourfold per step: the
    first steps are held tightly, the late ones to the shape of the curve. A change that is meant to change a curve
    rewrites the file: `python -m tests.golden NAME`. The loss falls, by the measure of the kit's check `learns`.
    """
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    result = advance(build(registry.load(name), steps=STEPS), STEPS)
    allowed = [min(0.3, 2e-5 * 4**step) for step in range(STEPS)]
    off = [abs(a - b) / abs(b) for a, b in zip(result, expected, strict=True)]
    assert all(x <= limit for x, limit in zip(off, allowed, strict=True)), [f"{x:.0e}" for x in off]
    assert sum(result[-5:]) < sum(result[:5])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_vision_transformer(name):
    """Two steps: the losses are finite and every weight of the encoder moves. Another encoder is refused in words."""
    method = registry.load(name)
    training = build(method, encoder=EncoderParams(name="vit-tiny", depth=1, patch=8))
    assert isinstance(training.method.encoder, TokenEncoder)
    before = {key: p.detach().clone() for key, p in training.method.encoder.named_parameters()}
    losses = advance(training, 2)
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert [key for key, p in training.method.encoder.named_parameters() if torch.equal(p, before[key])] == []


def test_curves_are_written_with_the_threads_they_are_read_with(monkeypatch):
    """`python -m tests.golden`, of no method."""
    monkeypatch.setattr("sys.argv", ["golden"])
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    runpy.run_module("tests.golden", run_name="__main__")
    result = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert result == threads == 1
