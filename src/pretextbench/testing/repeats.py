"""Twice the same, and otherwise when asked: seeds, draws, and a run that is interrupted."""

import tempfile
from pathlib import Path

import torch

from pretextbench.checkpoint import Checkpoint
from pretextbench.testing.bench import advance, batch, build
from pretextbench.testing.verdict import Method, require


def same_seed(method: Method) -> None:
    """Two runs with one seed give bitwise the same losses."""
    first, again = (advance(build(method), 2) for _ in range(2))
    hint = "Draw random numbers from torch's global generator, which the host seeds before every step"
    require(first == again, f"two runs with one seed give {first} and {again}", hint)


def other_seed(method: Method) -> None:
    """Another seed gives other weights and other draws: the method seeds nothing itself."""
    one, two = (dict(build(method, seed).method.named_parameters()) for seed in (0, 1))
    hint = "Call no manual_seed: the host seeds torch's global generator from the run's seed"
    differ = any(not torch.equal(p, two[name]) for name, p in one.items() if p.requires_grad)
    require(differ or not one, "two seeds give the same weights", hint)
    training, after = build(method), []
    for player in training.players:
        for seed in (2, 3):
            views = batch(training, player=player.name)
            torch.manual_seed(seed)
            training.method.loss(views)
            after.append(torch.rand(4))
        require(not torch.equal(*after[-2:]), "after loss() torch's generator is the same for two seeds", hint)


def resumes(method: Method) -> None:
    """Saved after two steps and restored into a new object, the next steps are bit for bit the same."""
    whole = build(method)
    advance(whole, 4)
    half = build(method)
    advance(half, 2)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "run")
        checkpoint.save(half.state())
        state = checkpoint.load()
    resumed = build(method)
    resumed.restore(state or {})
    advance(resumed, 2)
    expected, found = whole.method.state_dict(), resumed.method.state_dict()
    other = [name for name, value in expected.items() if not torch.equal(value, found[name])]
    hint = "Keep state in registered buffers: the state dict is the checkpoint, and attributes are lost"
    require(not other, f"a resumed run ends with other {other[:5]}", hint)
