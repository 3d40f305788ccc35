"""Building blocks that several methods share, each with a known-answer test: public, for authors of plugins."""

from pretextbench.parts.contrast import Queue, hardest_keys, info_nce, queue_size, retrieval
from pretextbench.parts.crops import MultiCropMethod, MultiCropParams, crop_pictures, cross_view_entropy, encode_crops
from pretextbench.parts.distribution import (
    cross_correlation,
    off_diagonal,
    random_directions,
    sigreg,
    variance_and_covariance,
    visreg,
)
from pretextbench.parts.networks import Twin, cosine_momentum, crossing_groups, in_groups, mlp, require_groups
from pretextbench.parts.pairs import (
    BY_VIEW,
    PairMethod,
    PairParams,
    collapse,
    cosine_picture,
    embedding_picture,
    encode,
    in_float32,
    pair_health,
    pair_pictures,
    require_batch,
    require_images,
)
from pretextbench.parts.patches import (
    Mask,
    TokenDecoder,
    patchify,
    random_mask,
    take,
    unpatchify,
    visible_patches,
)
from pretextbench.parts.prototypes import (
    Prototypes,
    dominant_prototype,
    entropies,
    prototype_count,
    prototype_pictures,
    same_for_all,
    sinkhorn,
    uniform_predictions,
)

__all__ = [
    "BY_VIEW", "Mask", "MultiCropMethod", "MultiCropParams", "PairMethod", "PairParams", "Prototypes", "Queue",
    "TokenDecoder", "Twin", "collapse", "cosine_momentum", "cosine_picture", "crop_pictures", "cross_correlation",
    "cross_view_entropy", "crossing_groups", "dominant_prototype", "embedding_picture", "encode", "encode_crops",
    "entropies", "hardest_keys", "in_float32", "in_groups", "info_nce", "mlp", "off_diagonal", "pair_health",
    "pair_pictures", "patchify", "prototype_count", "prototype_pictures", "queue_size", "random_directions",
    "random_mask", "require_batch", "require_groups", "require_images", "retrieval", "same_for_all", "sigreg",
    "sinkhorn", "take", "uniform_predictions", "unpatchify", "variance_and_covariance", "visible_patches", "visreg",
]  # fmt: skip
