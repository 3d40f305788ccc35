"""Queue of embeddings of earlier batches: more negatives, or more neighbours, than a batch has."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.errors import UserError


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


def _refuse_shorter(size: int, batch: int, owner: str) -> None:
    if batch > size:
        raise UserError(
            f"The queue{owner}, of {size} embeddings, is shorter than a batch of {batch}. Raise `queue`, or lower the "
            "batch size."
        )
