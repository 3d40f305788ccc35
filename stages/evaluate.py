"""Stage `evaluate`: an encoder, images and labels -> metrics.json, predictions per test image, tables for plots.

python -m stages evaluate METHOD SEED
"""

import shutil

import torch

from pretextbench import saved
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.protocol import evaluate
from pretextbench.evaluate.record import save
from pretextbench.files import whole_folder
from pretextbench.params import load
from pretextbench.track.runs import record_evaluate
from stages import layout
from stages.arguments import method_and_seed


def main() -> None:
    """Judge one encoder and add the numbers to its record."""
    name, seed = method_and_seed("evaluate", __doc__)
    source, target = layout.pretrained(name, seed), layout.evaluated(name, seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder, _ = saved.load(source)
    result = evaluate(encoder.to(device), Prepared(layout.IMAGES, layout.LABELS), load(layout.PARAMS).evaluate, device)
    with whole_folder(target) as out:
        save(result, out)
        shutil.copy(source / saved.CARD, out)  # what it cost, for compare, which reads this folder alone
    record_evaluate(target, source, layout.ROOT)
    print(f"{name}-{seed}: {headline(result.metrics)}")


def headline(metrics: dict) -> str:  # type: ignore[type-arg]  # nested JSON
    """The two numbers that people look for first."""
    if not metrics["labelled"]:
        return f"label-free measures only: {metrics['reason']}"
    top = {probe: metrics[probe]["layers"][metrics[probe]["best"]]["test"]["top1"] for probe in ("knn", "linear")}
    best = metrics["linear"]["best"]
    return f"k-NN {top['knn']:.1%}, linear {top['linear']:.1%} at {best} (test accuracy)"
