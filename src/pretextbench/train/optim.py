"""Optimizers of the players and the one learning-rate schedule."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pretextbench.params import OptimizerParams

ETA = 1e-3  # trust coefficient of LARS, in SimCLR's reference code and in the papers


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You 2017), as in SimCLR's reference code.

    Per tensor: g' = g + wd w; trust = eta |w| / |g'|; v = m v + lr trust g'; w -= v. The learning rate is inside the
    buffer, which differs from the variants that keep it outside whenever the rate changes. Biases and normalisation
    parameters (one dimension) take plain momentum: no decay, no trust ratio; so do groups with `trust` False.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, weight_decay: float) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": ETA, "trust": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of the parameters that have a gradient; the remaining ones stay."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._move(w, w.grad, group)

    def _move(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        if w.ndim > 1 and group["trust"]:
            g = g.add(w, alpha=group["weight_decay"])
            w_norm, g_norm = w.norm(), g.norm()
            g = g * torch.where((w_norm > 0) & (g_norm > 0), group["eta"] * w_norm / g_norm, 1.0)
        if not self.state[w]:
            self.state[w]["velocity"] = torch.zeros_like(w)
        v = self.state[w]["velocity"]
        v.mul_(group["momentum"]).add_(g * group["lr"])
        w.sub_(v)


def build(
    parameters: Iterable[nn.Parameter],
    params: OptimizerParams,
    fused: bool = False,
    undecayed: Collection[int] = frozenset(),
    shares: Mapping[int, float] | None = None,
    constant: Collection[int] = frozenset(),
) -> Optimizer:
    """The optimizer of one player; biases, normalisation parameters and those of `undecayed` are not decayed.

    Args:
        fused: a step as one kernel where torch has it, for parameters that will be on a GPU.
        undecayed: identities of parameters; see `exempt`.
        shares: identity of a parameter -> its share of the learning rate, for continued training; without, the whole.
        constant: identities of parameters whose learning rate stays at the peak; see `constant_rate`.
    """
    groups = list(_groups(list(parameters), params, undecayed, shares or {}, constant))
    if params.name == "adamw":
        return AdamW(groups, lr=params.lr, betas=params.betas, weight_decay=params.weight_decay, fused=fused)
    if params.name == "lars":
        return LARS(groups, params.lr, params.momentum, params.weight_decay)
    decay, nesterov = params.weight_decay, params.nesterov
    return SGD(groups, params.lr, params.momentum, weight_decay=decay, nesterov=nesterov, fused=fused)


def _groups(
    parameters: list[nn.Parameter],
    params: OptimizerParams,
    undecayed: Collection[int],
    shares: Mapping[int, float],
    constant: Collection[int],
) -> Iterator[dict[str, Any]]:
    """Those that follow the schedule, then those of a constant rate; each by their share of it, the whole rate first.

    Of each the decayed ones come first, then the others.
    """
    kinds: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for p in parameters:
        kinds.setdefault((id(p) in constant, -shares.get(id(p), 1.0)), []).append(p)
    for (fixed, negative), alike in sorted(kinds.items(), key=lambda item: item[0]):
        own = {**({"constant": params.lr} if fixed else {}), **({"share": -negative} if negative != -1.0 else {})}
        weights = [p for p in alike if p.ndim > 1 and id(p) not in undecayed]
        vectors = [p for p in alike if p.ndim <= 1 or id(p) in undecayed]
        if weights:
            yield {"params": weights, **({} if params.weight_decay_end is None else {"decayed": True}), **own}
        if vectors:
            yield {"params": vectors, "weight_decay": 0.0, **({"trust": False} if params.name == "lars" else {}), **own}


def exempt(network: nn.Module) -> frozenset[int]:
    """Identities of the parameters of a network that its modules exempt from weight decay.

    A module with a method `no_weight_decay`, as timm's models have, returns the names of such parameters: positions,
    class and mask tokens.
    """
    return _named(network, "no_weight_decay")


def constant_rate(network: nn.Module) -> frozenset[int]:
    """Identities of the parameters whose learning rate neither warms up nor decays, by modules' `constant_rate`."""
    return _named(network, "constant_rate")


def no_step(network: nn.Module, progress: float) -> frozenset[int]:
    """Identities of the parameters that stand still at this share of the budget, by modules' `no_step`.

    Their gradients are dropped after the backward pass, and not replaced by zeros: of zeros Adam makes a second moment
    of zero, and the first real gradient then moves the parameter by several times the learning rate.
    """
    return _named(network, "no_step", progress)


def _named(network: nn.Module, hook: str, *arguments: float) -> frozenset[int]:
    """Identities of the parameters that the modules of a network name by a method of theirs."""
    identities: set[int] = set()
    for module in network.modules():
        if not hasattr(type(module), hook):  # of the class: an attribute that a module lacks is slow to look for
            continue
        names: set[str] = getattr(module, hook)(*arguments)
        if names:
            own = dict(module.named_parameters())
            identities |= {id(own[name]) for name in names if name in own}
    return frozenset(identities)


def schedule(optimizer: Optimizer, step: int, steps: int, params: OptimizerParams) -> None:
    """Give an optimizer the learning rate and the weight decay of step 0 .. steps - 1."""
    set_rate(optimizer, rate(step, steps, params))
    if params.weight_decay_end is not None:
        for group in optimizer.param_groups:
            group["weight_decay"] = decay(step, steps, params) if group.get("decayed") else 0.0


def decay(step: int, steps: int, params: OptimizerParams) -> float:
    """Weight decay of a step: along a cosine to `weight_decay_end`, if there is one (Caron 2021)."""
    end = params.weight_decay if params.weight_decay_end is None else params.weight_decay_end
    return end + (params.weight_decay - end) * 0.5 * (1 + math.cos(math.pi * step / steps))


def rate(step: int, steps: int, params: OptimizerParams) -> float:
    """Learning rate of step 0 .. steps - 1: a linear warm-up to the peak, then a cosine that ends near zero.

    A function of the step alone, so that a resumed run needs no state of a scheduler.
    """
    warm = min(round(params.warmup * steps), steps - 1)
    if step < warm:
        return params.lr * (step + 1) / warm
    return params.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group of the optimizer this learning rate, or its constant one, or its share of either."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("constant", lr) * group.get("share", 1.0)
