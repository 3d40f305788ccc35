"""Runs with planted learning curves."""

from dataclasses import replace

from pretextbench.ranking.curves import Curve

SHARES = (0.25, 0.5, 1.0)


def with_curves(runs, curves, votes=1000, shares=SHARES):
    """The runs with a curve for each name that has one: accuracies of validation k-NN at the shares of the budget."""
    return [
        replace(run, metrics={**run.metrics, "curve": curve_of(run, curves[run.name], votes, shares)})
        if run.name in curves
        else run
        for run in runs
    ]


def curve_of(run, accuracies, votes, shares):
    """As `evaluate.curve` writes it: right at the row's k-NN layer, and upside down at another one."""
    seen = [round(run.images_seen * share) for share in shares]
    wrong = [1 - accuracy for accuracy in accuracies]
    return {"images": votes, "bank": 1000, "seen": seen, "layers": {"layer2": wrong, "layer3": list(accuracies)}}


def curve(name, accuracies, per_image=1.0, end=1000.0, error=0.01, method=True, shares=SHARES):
    """A curve as the comparison holds it."""
    images = tuple(end * share for share in shares)
    work = tuple(seen * per_image for seen in images)
    return Curve(name, method, images, work, tuple(accuracies), (error,) * len(images))
