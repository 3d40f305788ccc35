"""Building blocks that several methods share, each with a known-answer test: public, for authors of plugins."""

from pretextbench.parts.covariance import cross_correlation, off_diagonal, variance_and_covariance
from pretextbench.parts.heads import mlp
from pretextbench.parts.pairs import (
    PairParams,
    collapse,
    encode,
    in_float32,
    pair_health,
    pair_pictures,
    require_images,
)
from pretextbench.parts.queue import Queue
from pretextbench.parts.twin import Twin, cosine_momentum

__all__ = [
    "PairParams", "Queue", "Twin", "collapse", "cosine_momentum", "cross_correlation", "encode", "in_float32", "mlp",
    "off_diagonal", "pair_health", "pair_pictures", "require_images", "variance_and_covariance",
]  # fmt: skip
