"""Groups of a batch whose batch norms are apart, in place of shuffling a batch over GPUs (He 2020, section 3.3).

A query and a key that share their statistics are told apart from other keys by these alone.
"""

import torch
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.parts.pairs import encode


def require_groups(method: str, images: int, count: int) -> None:
    """Refuse groups of fewer than two images, which have no statistics.

    Raises:
        UserError: a process has fewer than two `images` at a time (0: not known) for each of `count` groups.
    """
    if count > 1 and 0 < images < 2 * count:
        raise UserError(
            f"Method {method!r} normalises {count} groups of a batch, which needs at least {2 * count} images at a "
            f"time, found {images}. Lower its `norm_groups`, or raise the batch size."
        )


def crossing_groups(images: int, count: int) -> tuple[list[list[int]], list[list[int]]]:
    """Numbers of the images of each group: of the queries, and of the keys. The two cross each other.

    Each group of keys takes its images from all groups of queries, as evenly as possible.
    """
    of_queries, of_keys = (
        [[i for i in range(images) if i // unit % count == group] for group in range(count)] for unit in (1, count)
    )
    return of_queries, [group for group in of_keys if group]


def in_groups(network: nn.Module, view: Tensor, groups: list[list[int]]) -> Tensor:
    """The network (B, ...) -> (B, D) on each group by itself: batch norm sees one group at a time."""
    if len(groups) == 1:
        return encode(network, [view])[0]
    numbers = torch.tensor([number for group in groups for number in group], device=view.device)
    outputs = encode(network, view[numbers].split([len(group) for group in groups]))
    return torch.cat(outputs)[numbers.argsort()]
