"""The estimate is made for the processor at hand: a slower one needs more, in proportion."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import graph
from pretextbench.command import cost, estimate
from pretextbench.command.rehearsal import rehearse
from pretextbench.params import Params, Pretrain, load
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import start_fabric
from tests.command.conftest import CHECKOUT


def seconds(
    monkeypatch: pytest.MonkeyPatch, loop: float, fit: float, decode: float | None = None
) -> tuple[float, float]:
    """Of the overhead and the evaluation, on a processor so many times slower than that of the table."""
    table = estimate.TABLE
    monkeypatch.setattr(estimate, "_training", lambda *_: 0.0)
    monkeypatch.setattr(estimate, "_forward", lambda *_: 0.0)
    monkeypatch.setattr(cost, "python_seconds", lambda: loop * table.loop)
    monkeypatch.setattr(cost, "algebra_seconds", lambda: fit * table.fit)
    made = estimate.estimate(Params(), torch.zeros((1, 8, 8, 3), dtype=torch.uint8).numpy(), (80, 100), 2, decode)
    return made.overhead, made.evaluation.seconds


def test_what_is_not_measured_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    overhead, evaluation = seconds(monkeypatch, 1, 1)
    assert seconds(monkeypatch, 3, 1) == pytest.approx((3 * overhead, evaluation))
    assert seconds(monkeypatch, 1, 2) == pytest.approx((overhead, 2 * evaluation))
    more = (0.5 - estimate.TABLE.decode) * 100
    assert seconds(monkeypatch, 1, 1, decode=0.5) == pytest.approx((overhead + more, evaluation))


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")
def test_the_stages_of_an_estimate_are_stages_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that pretrain or evaluate at the default parameters."""
    monkeypatch.chdir(CHECKOUT)
    params, row = load(Path("params.yaml")), cost.Evaluation(2.0, "resnet10", 32, 240, 4.0, 0.0)
    names = (*params.compare.methods, *params.compare.controls)
    made = cost.Estimate(dict.fromkeys(names, 1.0), row, 0.0, 0, 0, 0, 1)
    kinds = ("pretrain", "evaluate")
    assert set(cost.of_stages(made, params)) == {n.name for n in graph.read([]) if n.name.startswith(kinds)}


def test_a_reference_is_counted_at_the_size_of_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forward passes, over images and corrupted test images, and fits on the features of all its stages."""
    table = estimate.TABLE
    monkeypatch.setattr(estimate, "_training", lambda *_: 0.0)
    monkeypatch.setattr(estimate, "_forward", lambda _, network, sample: 0.5 if getattr(network, "side", 0) else 0.0)
    monkeypatch.setattr(cost, "python_seconds", lambda: table.loop)
    monkeypatch.setattr(cost, "algebra_seconds", lambda: table.fit)
    images, rows = np.zeros((1, 8, 8, 3), np.uint8), {"vit": {"name": "timm/vit_tiny_patch16_224"}}
    plain = estimate.estimate(Params(), images, (80, 100), 2)
    params = Params.model_validate({"compare": {"references": ["vit"]}, "references": rows})
    made = estimate.estimate(params, images, (80, 100), 2)
    row = made.references["vit"]
    assert (plain.references, made.evaluation) == ({}, plain.evaluation)
    assert (row.side, row.dims, made.evaluation.side, made.evaluation.dims) == (224, 4 * 192, 32, 240)
    fits = table.evaluation * 100 * 4 * 192 / 240
    assert row.seconds == pytest.approx(fits + 0.5 * (100 + 35 * 20))
    assert made.overhead == pytest.approx(plain.overhead + 2 * table.stage)
    assert made.seconds == pytest.approx(plain.seconds + row.seconds + 2 * table.stage)
    printed = "\n".join(cost.description(made, Path()))
    assert f"reference vit: {cost.duration(row.seconds)} (timm/vit_tiny_patch16_224 on 224 px, 768 features)" in printed


@pytest.mark.parametrize("piece", [cost.python_seconds, cost.algebra_seconds])
def test_a_piece_of_work_takes_milliseconds(piece: Callable[[], float]) -> None:
    assert 1e-4 < piece() < 5


def test_the_processor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 9000 CPU\nmodel name\t: Fast 9000 CPU\n")
    monkeypatch.setattr(cost, "CPUINFO", tmp_path / "cpuinfo")
    assert cost.processor_name() == f"Fast 9000 CPU, {os.cpu_count()} cores"
    monkeypatch.setattr(cost, "CPUINFO", tmp_path / "nowhere")
    assert cost.processor_name().endswith(f", {os.cpu_count()} cores")


def test_a_rehearsed_step_is_a_training_step_that_moves_nothing() -> None:
    sample = np.random.default_rng(0).integers(0, 255, (16, 16, 16, 3), np.uint8)
    params = Params(pretrain=Pretrain(images=160, batch_size=16, precision="fp32", accelerator="cpu", clip=1.0))
    rehearsal = rehearse("simclr", params, sample, 16, 0)
    training = Training(rehearsal.job, rehearsal.method.data, start_fabric(rehearsal.job.pretrain))
    before = [p.clone() for p in rehearsal.method.parameters()]
    index = training.share(0)
    losses = [t.advance(index, torch.from_numpy(sample[index]))["loss"] for t in (rehearsal, training)]
    assert torch.equal(*losses)
    for mine, moved, start in zip(rehearsal.method.parameters(), training.method.parameters(), before, strict=True):
        assert torch.equal(mine, start)
        assert not torch.equal(mine, moved)
        torch.testing.assert_close(mine.grad, moved.grad, rtol=0, atol=0)


@pytest.mark.slow
def test_an_estimate_does_not_import_the_compiler_of_torch() -> None:
    """It would take longer than everything that is measured."""
    code = (
        "import sys, numpy; from pretextbench.command.estimate import estimate; from pretextbench.params import *;"
        "estimate(Params(pretrain=Pretrain(images=16, batch_size=8), compare=Compare(methods=['simclr'], controls=[])),"
        "numpy.zeros((16, 8, 8, 3), numpy.uint8), (16, 16), 0); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trainings_at_other_budgets_are_counted() -> None:
    """By hand: two methods of 50 and 20 s at 1,000 images take 140 s at 2,000, each judged in 3 s, three seeds."""
    params = Params.model_validate(
        {"compare": {"methods": ["simclr", "rotation"], "budgets": [2000]}, "pretrain": {"images": 1000}}
    )
    training = {"simclr": 50.0, "rotation": 20.0, "supervised": 30.0}
    budgets = estimate.at_budgets(params, training, 80)
    assert budgets == {2000: 140.0}
    judged = cost.Evaluation(3.0, "resnet10", 32, 240, 4.0)
    whole = cost.Estimate(training, judged, 5.0, 1, 0, 1, 3, budgets=budgets, methods=2)
    assert whole.seconds == pytest.approx(3 * (100 + 140 + 5 * 3) + 5)
    lines = list(cost.description(whole, Path()))
    assert "  training at other budgets 2 min at 2,000 images x 3 seeds" in lines
    assert any(line.startswith("  evaluation 3 s for each of 5 rows x 3 seeds") for line in lines)


def test_trials_are_counted_by_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 9 trials of 100 images, the best 3 of them with 300, judged by 100 images each time."""
    params = Params.model_validate(
        {
            "compare": {"methods": ["simclr", "rotation"]},
            "tune": {"trials": 9, "images": 100},
            "pretrain": {"images": 1000},
        }
    )
    training = {"simclr": 50.0, "rotation": 20.0, "supervised": 30.0}
    made = estimate.tuning(params, training, (80, 100), 0.01)
    images, judged = 9 * 100 + 3 * 300, (9 + 3) * 100 * 0.01
    assert made == {"simclr": 50.0 * images / 1000 + judged, "rotation": 20.0 * images / 1000 + judged}
    assert estimate.tuning(Params(), training, (80, 100), 0.01) == {}
    whole = cost.Estimate(training, cost.Evaluation(1.0, "resnet10", 32, 240, 4.0), 5.0, 1, 0, 1, 3, {}, made, 9)
    assert whole.seconds == pytest.approx(3 * (100 + 3) + sum(made.values()) + 5)
    assert "  tuning by 9 trials simclr 2 min, rotation 48 s" in list(cost.description(whole, Path()))
