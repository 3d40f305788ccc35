"""Groups of near duplicates, for splits that keep them together."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pretextbench.audit.similarity import NEAR, Images, Index, candidates, similarities

Rows = npt.NDArray[np.int64]


def near_duplicates(images: Images) -> Rows:
    """(n,) the group of each image: images that are near duplicates, by one or over others, have the same number.

    A near duplicate is one by the measure of the audit, exact ones included.

    Args:
        images: (n, H, W, 3).
    """
    index = Index("all", images, None)
    first: dict[bytes, int] = {}
    pairs = [(i, first.setdefault(digest, i)) for i, digest in enumerate(index.digests)]
    unsure = [(i, j) for i, j in candidates(index, index) if i < j]
    pairs += [pair for pair, *alike in similarities(images, images, unsure) if max(alike) >= NEAR]
    rows, others = np.array(pairs, np.int64).T
    graph = coo_matrix((np.ones(len(rows)), (rows, others)), shape=(len(images), len(images)))
    groups: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups
