"""Checks of the loss: its form, its gradients, learning, equal runs from equal seeds, resuming."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from pretextbench.distributed import join
from pretextbench.errors import UserError
from pretextbench.method import Loss
from pretextbench.testing.bench import BATCH, Method, advance, batch, build, require
from pretextbench.train.checkpoint import Checkpoint
from pretextbench.train.loop import Training


def loss_well_formed(method: Method) -> None:
    """Every player's loss is one finite float32 with a gradient, and `parts` holds scalars."""
    training = build(method)
    for player in training.players:
        loss = training.method.loss(batch(training, player=player.name))
        _well_formed(loss, f"the loss of player {player.name!r}")


def _well_formed(loss: Loss, where: str) -> None:
    total, mean = loss.total, "Return Loss(total) with the mean over the batch"
    require(total.shape == (), f"{where} has shape {tuple(total.shape)}, expected a scalar", mean)
    wide = "Call .float() on the network's outputs before the loss"
    require(total.dtype == torch.float32, f"{where} is {total.dtype}, expected float32", wide)
    value = total.detach().item()
    require(bool(total.isfinite()), f"{where} is {value} at initialisation", "Look for log(0), 0 / 0 and square roots")
    require(total.requires_grad, f"{where} has no gradient", "Do not detach what is minimised")
    odd = [name for name, part in loss.parts.items() if not isinstance(part, Tensor) or part.shape != ()]
    require(not odd, f"parts {odd} are not scalar tensors", "Each is a column of history.csv: average it")


def gradients_reach(method: Method) -> None:
    """After a player's turn each of its parameters has a finite gradient; every parameter has exactly one owner."""
    training = build(method)
    owned = [id(p) for player in training.players for p in player.parameters]
    hint = "Let players() give each parameter to one"
    require(len(owned) == len(set(owned)), "a parameter belongs to two players", hint)
    names = {id(p): name for name, p in training.method.named_parameters()}
    free = [names[id(p)] for p in training.method.parameters() if p.requires_grad and id(p) not in set(owned)]
    require(not free, f"trainable parameters that no player owns: {free[:5]}", "List them in players(), or freeze them")
    for player in training.players:
        training.method.zero_grad(set_to_none=True)
        training.method.loss(batch(training, player=player.name)).total.backward()
        missed = [names.get(id(p), "one outside the method") for p in player.parameters if p.grad is None]
        fault = f"no gradient reaches {missed[:5]} of player {player.name!r}"
        require(not missed, fault, "Use them in the loss, freeze them, or delete them")
        wild = [names[id(p)] for p in player.parameters if p.grad is not None and not p.grad.isfinite().all()]
        require(not wild, f"the gradient of {wild[:5]} is not finite", "Look for roots and divisions at zero")


def gradients_stay(method: Method) -> None:
    """The gradient reaches nothing else: a loss moves no frozen weight, and no buffer keeps a graph."""
    training = build(method)
    frozen = {name: p for name, p in training.method.named_parameters() if not p.requires_grad}
    before = {name: p.detach().clone() for name, p in frozen.items()}
    for player in training.players:
        training.method.loss(batch(training, player=player.name)).total.backward()
    attached = [name for name, buffer in training.method.named_buffers() if buffer.requires_grad]
    require(
        not attached,
        f"buffers that keep a graph: {attached[:5]}",
        "Store x.detach(): a graph per step fills the memory",
    )
    moved = [name for name, p in frozen.items() if not torch.equal(p, before[name])]
    hint = "Move twins in after_step: with accumulated parts loss() is called several times a step"
    require(not moved, f"loss() moved frozen weights: {moved[:5]}", hint)
    reached = [name for name, p in frozen.items() if p.grad is not None]
    require(not reached, f"frozen weights with a gradient: {reached[:5]}", "Freeze them in __init__")


def buffers_staged(method: Method) -> None:
    """Buffers that data change are staged in `loss` and applied in `after_step`: equal on all processes, and for any
    `accumulate`.

    One process that sees a batch in two parts is compared with two that see a part each. The statistics of
    normalisation layers are left out: the host synchronises them.
    """
    whole, *halves = (_buffers(method, parts) for parts in ((0, 1), (0,), (1,)))
    joined = join({name: [*halves[0].staged[name], *halves[1].staged[name]] for name in halves[0].staged})
    states = [half.buffers_after(joined) for half in halves]
    expected = whole.buffers_after(join(whole.staged))
    differing = [
        name for name, value in expected.items() if any(not torch.equal(value, state[name]) for state in states)
    ]
    hint = "Return what changes them in Loss(staged=...), and change them in after_step, from its argument `staged`"
    fault = f"after a step the buffers {differing[:5]} depend on how its images are split into parts and over processes"
    require(not differing, fault, hint)


class _Step(NamedTuple):
    """The turns of one process, without its optimizers."""

    training: Training
    staged: dict[str, list[Tensor]]

    def buffers_after(self, joined: dict[str, Tensor]) -> dict[str, Tensor]:
        """Buffers after two steps with what was staged, by name, without those of normalisation layers."""
        with torch.no_grad():
            for progress in (0.0, 0.5):  # the first step may fill what later ones add to
                self.training.method.after_step(progress, joined)
        layers = [layer for layer in self.training.method.modules() if isinstance(layer, _NormBase)]
        statistics = {id(buffer) for layer in layers for buffer in layer.buffers()}
        return {name: buffer for name, buffer in self.training.method.named_buffers() if id(buffer) not in statistics}


def _buffers(method: Method, parts: tuple[int, ...]) -> _Step:
    """The players' turns on some halves of the kit's batch, each half with its own seed and scratch."""
    training, staged = build(method), dict[str, list[Tensor]]()
    training.method.train()
    scratches = [SimpleNamespace() for _ in parts]
    for player in training.players:
        whole = batch(training, player=player.name)
        for part, scratch in zip(parts, scratches, strict=True):
            rows = slice(part * BATCH // 2, (part + 1) * BATCH // 2)
            views = tuple(view[rows] for view in whole.views)
            torch.manual_seed(part)
            loss = training.method.loss(replace(whole, views=views, index=whole.index[rows], scratch=scratch))
            for name, value in loss.staged.items():
                staged.setdefault(name, []).append(value.detach())
    return _Step(training, staged)


STEPS = 30  # of `learns`


def learns(method: Method) -> None:
    """Thirty steps on 64 images lower the loss of the first player."""
    losses = advance(build(method, steps=STEPS), STEPS)
    hint = "Lower optimizer.lr, or look for a division by zero"
    require(bool(np.isfinite(losses).all()), f"the loss is not finite: {losses}", hint)
    early, late = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    fault = f"the loss does not fall in {STEPS} steps: {early:.4f} -> {late:.4f}"
    require(late < early, fault, "Look at optimizer.lr, and whether what is minimised depends on the encoder")


def batch_of_one(method: Method) -> None:
    """One image alone gives a finite loss in evaluation mode, or a UserError that says why it cannot."""
    training = build(method)
    training.method.eval()
    try:
        with torch.no_grad():
            total = training.method.loss(batch(training, 1)).total
    except UserError:
        return
    hint = "Guard statistics over the batch, or raise a UserError that says how many images it takes"
    require(bool(total.isfinite()), f"the loss of a single image is {float(total)}", hint)


def quiet(method: Method) -> None:
    """Two steps raise no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        advance(build(method), 2)
    messages = [str(w.message)[:200] for w in caught][:3]
    require(not caught, f"warnings: {messages}", "Mend what they say: a run would repeat them at every step")


def same_seed(method: Method) -> None:
    """Two runs with one seed give bitwise the same losses."""
    first, again = (advance(build(method), 2) for _ in range(2))
    hint = "Draw random numbers from torch's global generator, which the host seeds before every step"
    require(first == again, f"two runs with one seed give {first} and {again}", hint)


def other_seed(method: Method) -> None:
    """Another seed gives other weights and other draws: the method seeds nothing itself."""
    first, second = (dict(build(method, seed).method.named_parameters()) for seed in (0, 1))
    hint = "Call no manual_seed: the host seeds torch's global generator from the run's seed"
    differ = any(not torch.equal(p, second[name]) for name, p in first.items() if p.requires_grad)
    require(differ or not first, "two seeds give the same weights", hint)
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
    advance(whole, 2)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "run")
        checkpoint.save(whole.state())
        state = checkpoint.load()
    resumed = build(method)
    resumed.restore(state or {})
    for training in (whole, resumed):
        advance(training, 2)
    expected, state = whole.method.state_dict(), resumed.method.state_dict()
    differing = [name for name, value in expected.items() if not torch.equal(value, state[name])]
    hint = "Keep state in registered buffers: the state dict is the checkpoint, and attributes are lost"
    require(not differing, f"a resumed run ends with other {differing[:5]}", hint)
