"""The label-free measures of an encoder, on its pooled features of held-out images."""

from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.measures import effective_rank, feature_std, uniformity


def measure(features: Tensor) -> dict[str, float]:
    """RankMe, uniformity and feature std of (n, D) features.

    Raises:
        UserError: fewer than two images.
    """
    if len(features) < 2:
        raise UserError(f"Label-free measures need two validation images or more; found {len(features)}.")
    return {
        "rankme": effective_rank(features),
        "uniformity": uniformity(features),
        "feature_std": feature_std(features),
    }
