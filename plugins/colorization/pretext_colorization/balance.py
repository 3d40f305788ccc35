"""Rebalancing of rare colours, and the cross-entropy with soft targets over hundreds of bins."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

GREY = 5.0  # ab units; an image whose |a| and |b| never exceed it is grey (the authors' code)
ROWS = 1024  # pixels at a time on a CPU: 1024 x 313 float32 stay in the cache


def weights(prior: Tensor, uniform: float) -> Tensor:
    """w (Q,) proportional to 1 / ((1 - lambda) p + lambda / Q), with sum p w = 1 (section 2.2 of the paper).

    The uniform share runs over all Q bins, those that never occurred included, so that no weight is infinite: the
    authors' code leaves them out, and 0 times infinity is not a number. lambda = 0 is refused by the parameters.
    """
    w = 1 / ((1 - uniform) * prior + uniform / len(prior))
    return w / (prior * w).sum()


def coloured(ab: Tensor) -> Tensor:
    """Which images (B, 2, h, w) have colour at all: (B,) bool."""
    return (ab.abs() > GREY).flatten(1).any(1)


class _SoftCrossEntropy(Function):
    """Loss and gradient in one pass over the logits: float32 copies of all of them would cost more than the network."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, share: Tensor) -> Tensor:
        rows = ROWS if logits.device.type == "cpu" else max(1, len(logits))
        slope, losses = torch.empty_like(logits), []
        wide = torch.promote_types(logits.dtype, torch.float32)
        for start in range(0, len(logits), rows):
            part = slice(start, start + rows)
            z, i, s = logits[part].to(wide), index[part], share[part].to(wide)
            p = z.softmax(1)
            log_sum = z.amax(1) - p.amax(1).log()  # log sum exp z; the largest p is at least 1 / Q, its log is safe
            losses.append(log_sum - (s * z.gather(1, i)).sum(1))
            slope[part] = p.scatter_add_(1, i, -s)
        ctx.save_for_backward(slope)
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * grad[:, None].to(slope.dtype), None, None


def soft_cross_entropy(logits: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """-sum_q Z_q log softmax(logits)_q, in nats, for logits (N, Q) and Z of k bins `index` with `share`, both (N, k).

    The shares of a row sum to one. Returns (N,) in float32 at least, whatever the precision of the logits.
    """
    return _SoftCrossEntropy.apply(logits, index, share)  # type: ignore[no-any-return]  # torch does not type it
