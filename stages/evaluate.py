"""Stage `evaluate`: an encoder, images and labels -> metrics.json, predictions per test image, tables for plots.

python -m stages evaluate METHOD SEED
"""

import torch

from pretextbench.base.measure import measure_of
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.evaluation import save
from pretextbench.evaluate.protocol import evaluate
from pretextbench.evaluate.subject import Snapshots, Subject
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from pretextbench.track.stage_records import record_evaluate
from pretextbench.train import checkpoint, encoder_folder
from pretextbench.views.frozen import Views
from stages import inputs
from stages.arguments import method_and_seed

RANDOM = "random"  # the control whose encoder is not trained


def main() -> None:
    """Judge one encoder and add the numbers to its record."""
    name, seed = method_and_seed("evaluate", __doc__)
    source, target = layout.pretrained(name, seed), layout.evaluated(name, seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder, card = encoder_folder.load(source)
    data = Prepared(layout.IMAGES, layout.LABELS)
    params = parameters()
    subject = Subject(
        encoder.to(device),
        params.evaluate,
        device,
        Views(layout.VIEWS, data),
        transfer(),
        Snapshots(encoder_folder.snapshots(source), card.images_seen),
        card.method == RANDOM,
    )
    result = evaluate(subject, data)
    save(result, target, source)
    inputs.check()
    record_evaluate(target, source, layout.root(), layout.experiment(params))
    forget_evaluated(name, seed)
    print(f"{name}-{seed}: {headline(result.metrics)}")
    print(f"time: {subject.clock}")


def forget_evaluated(name: str, seed: int) -> None:
    """Remove the scratch of a finished training: DVC has committed it before its evaluation."""
    for folder in checkpoint.finished(layout.training_scratch(name, seed)):
        if checkpoint.same_files(folder, layout.pretrained(name, seed)):
            checkpoint.forget(folder)


def transfer() -> Prepared | None:
    """The second data set, where the transfer stage made one."""
    images, labels = (layout.TRANSFER / folder.name for folder in (layout.IMAGES, layout.LABELS))
    return Prepared(images, labels) if images.is_dir() else None


def headline(metrics: dict) -> str:  # type: ignore[type-arg]  # nested JSON
    """The two numbers that people look for first."""
    if not metrics["labelled"]:
        return f"label-free measures only: {metrics['reason']}"
    measure = measure_of(metrics)
    top = {probe: measure.of(metrics[probe]["layers"][metrics[probe]["best"]]["test"]) for probe in ("knn", "linear")}
    best = metrics["linear"]["best"]
    return f"k-NN {top['knn']:.1%}, linear {top['linear']:.1%} at {best} (test {measure.name})"
