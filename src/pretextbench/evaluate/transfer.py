"""Transfer: the frozen encoder on a second data set, which it never saw. Same probes, own labels, own choices."""

from typing import Any

import numpy as np

from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.final import Scored, score_test
from pretextbench.evaluate.layers import Bench, Probed, linear_probes, neighbours

NAME = "transfer"


def probe(bench: Bench, data: Prepared) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics and arrays of k-NN and linear probes on the second data set; without test labels, the reason alone."""
    probed = {"knn": neighbours(bench), "linear": linear_probes(bench)}
    named = {f"{kind}.{stage}": said for kind, found in probed.items() for stage, said in found.test.items()}
    scored = score_test(data, named)
    if scored is None:
        return {"reason": "no test image of the transfer data has a label"}, {}
    sizes = {split: len(features) for split, features in _sizes(bench).items()}
    base = {"source": data.card.source, "classes": data.classes, "data": {**sizes, "fingerprint": scored.fingerprint}}
    metrics = {**base, **{kind: stages(kind, found, scored) for kind, found in probed.items()}}
    arrays = {f"{NAME}.{name}": said for name, said in scored.predictions.items()}
    return metrics, {f"{NAME}.index": scored.index, f"{NAME}.label": scored.labels, **arrays}


def _sizes(bench: Bench) -> dict[str, Any]:
    return {split: next(iter(stages.values())) for split, stages in bench.features.items()}


def stages(probe: str, found: Probed, scored: Scored) -> dict[str, Any]:
    """The choices and test scores of one probe at every stage."""
    layers = {
        stage: {"val": found.val[stage], **found.detail[stage], "test": scored.scores[f"{probe}.{stage}"]}
        for stage in found.val
    }
    return {"best": found.best, "last": found.last, "layers": layers}
