"""Contrast of a query with its own key and with the keys of other images: loss, queue of keys, share, picture."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.distributed import gather, rank
from pretextbench.errors import UserError
from pretextbench.method import Data, Picture
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


class Queue(nn.Module):
    """The last `size` embeddings, (size, dim), first in, first out; random unit vectors until it has been filled.

    Add rows in `after_step`, from `staged`, and never in `loss`: a batch must not meet its own embeddings.
    """

    rows: Tensor  # (size, dim)
    next: Tensor  # number of the row that is replaced next

    def __init__(self, size: int, dim: int, batch: int = 0, owner: str = "") -> None:
        """Refuse a queue that cannot take a batch of `batch` rows (`Data.batch`; 0: not known).

        `owner`: name of the method, for the message.

        Raises:
            UserError: the queue is shorter than a batch.
        """
        super().__init__()
        self.owner = f" of method {owner!r}" if owner else ""
        _refuse_shorter(size, batch, self.owner)
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fill(self, new: Tensor) -> None:
        """Fill the queue with `new`, (n, dim), repeated: after the first step, in place of the random vectors.

        Random vectors are far from all embeddings. A loss against them starts too low and rises while they leave.

        Raises:
            UserError: a batch is larger than the queue.
        """
        _refuse_shorter(len(self.rows), len(new), self.owner)
        times = -(-len(self.rows) // len(new))
        self.rows.copy_(new.repeat(times, 1)[: len(self.rows)])

    def enter(self, new: Tensor, progress: float) -> None:
        """Take the rows of a step, (n, dim), at its `progress`: the first step fills the queue, later ones add to it.

        Raises:
            UserError: a batch is larger than the queue.
        """
        take = self.add if progress else self.fill
        take(new)

    @torch.no_grad()
    def add(self, new: Tensor) -> None:
        """Replace the oldest rows by `new`, (n, dim), in order; the first of them is then the oldest of the new.

        Raises:
            UserError: a batch is larger than the queue.
        """
        size = len(self.rows)
        _refuse_shorter(size, len(new), self.owner)
        places = (self.next + torch.arange(len(new), device=new.device)) % size
        self.rows[places] = new.to(self.rows.dtype)
        self.next.copy_((self.next + len(new)) % size)


def queue_size(method: str, asked: int | None, usual: int, data: Data) -> int:
    """The size of a queue: as set; if None, `usual`, or what the budget fills if that is less, but a batch at least.

    Raises:
        UserError: more is asked for than the images that are seen before the last step: it would never be full.
    """
    if not (data.budget and data.batch):
        return usual if asked is None else asked
    before = (max(1, round(data.budget / data.batch)) - 1) * data.batch  # images seen before the last step
    if asked is None:
        return min(usual, max(before, data.batch))
    if asked > before:
        raise UserError(
            f"The queue of method {method!r}, of {asked} embeddings, would never be full: {before} images are seen "
            "before the last step. Lower `queue`, or raise the budget."
        )
    return asked


def _refuse_shorter(size: int, batch: int, owner: str) -> None:
    if batch > size:
        raise UserError(
            f"The queue{owner}, of {size} embeddings, is shorter than a batch of {batch}. Raise `queue`, or lower the "
            "batch size."
        )
