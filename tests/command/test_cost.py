"""The estimate is made for the processor at hand: a slower one needs more, in proportion."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretextbench.command import cost, estimate
from pretextbench.params import Params


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
    return made.overhead, made.evaluation


def test_what_is_not_measured_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    overhead, evaluation = seconds(monkeypatch, 1, 1)
    assert seconds(monkeypatch, 3, 1) == pytest.approx((3 * overhead, evaluation))
    assert seconds(monkeypatch, 1, 2) == pytest.approx((overhead, 2 * evaluation))
    more = (0.5 - estimate.TABLE.decode) * 100
    assert seconds(monkeypatch, 1, 1, decode=0.5) == pytest.approx((overhead + more, evaluation))


@pytest.mark.parametrize("piece", [cost.python_seconds, cost.algebra_seconds])
def test_a_piece_of_work_takes_milliseconds(piece: Callable[[], float]) -> None:
    assert 1e-4 < piece() < 5


def test_the_processor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 9000 CPU\nmodel name\t: Fast 9000 CPU\n")
    monkeypatch.setattr(cost, "CPUINFO", tmp_path / "cpuinfo")
    assert cost.processor_name() == f"Fast 9000 CPU, {os.cpu_count()} cores"
    monkeypatch.setattr(cost, "CPUINFO", tmp_path / "nowhere")
    assert cost.processor_name().endswith(f", {os.cpu_count()} cores")
