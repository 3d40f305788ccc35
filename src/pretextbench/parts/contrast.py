"""Contrast: a query is nearer to its own key than to any other: loss (van den Oord 2018), share and picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.distributed import gather, rank
from pretextbench.method import Picture
from pretextbench.parts.pairs import in_float32


@in_float32
def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each query (n, D) with its own key among the keys (n, D) of all processes: mean in nats.

    Both get length one here. Detach what shall have no gradient. Equal vectors cost ln N, N keys of all processes.
    """
    unit, everyone = F.normalize(queries, dim=1), gather(F.normalize(keys, dim=1))
    own = torch.arange(len(unit), device=unit.device) + rank() * len(unit)
    return F.cross_entropy(unit @ everyone.T / temperature, own)


def retrieval(queries: Tensor, keys: Tensor, queue: Tensor | None = None) -> Tensor:
    """Share of queries (B, D) that are nearest to their own key: among the queue's (K, D) or, without, the batch's."""
    q, k = (F.normalize(x.detach().float(), dim=1) for x in (queries, keys))
    if queue is not None:
        return ((q * k).sum(1) > (q @ queue.to(q.dtype).T).amax(1)).float().mean()
    return ((q @ k.T).argmax(1) == torch.arange(len(q), device=q.device)).float().mean()


def hardest_keys(queries: Tensor, keys: Tensor, queue: Tensor, columns: int = 16) -> Picture:
    """Cosines of each query (a row): own key first, then the nearest keys of the queue in order (white: alike)."""
    q, k = (F.normalize(x.float(), dim=1) for x in (queries, keys))
    negatives = (q @ queue.to(q.dtype).T).topk(min(columns, len(queue)), 1).values
    cosines = torch.cat([(q * k).sum(1, keepdim=True), negatives], 1)
    pixels = ((cosines + 1) / 2).clamp(0, 1).expand(3, -1, -1)
    return Picture("own key, then the nearest of the queue", ("",), pixels[None, None])
