"""Names of metrics in MLflow. MLflow shows the name of a metric as the title of its chart, so each name is a title.

A run has about fifteen final numbers. All others are in its files `evaluate/metrics.json` and `encoder.json`. A title
consists of letters, digits, spaces and `_ - . /`, which MLflow accepts everywhere; before the `/` is its section.
"""

import re
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from pretextbench.base.measure import MEASURES, Measure, measure_of

SECONDS, GAIN, IMAGES = "Pretraining seconds", "Gain on validation", "Images seen"
VALIDATION = "k-NN on validation"
LOSS = "Training/Loss"
SECTIONS = {"train": "Training", "monitor": "Training", "health": "Training health"}  # MLflow sorts them by name
CURVES = {"train/lr": "Learning rate", "monitor/knn": VALIDATION}
AXES = ("train/step", "train/seconds", "train/images")  # of history.csv: they grow with the step and say nothing else
BUDGETS = {"budgets": "{} with {}", "finetune": "Fine-tuned {} with {}", "scratch": "From scratch {} with {}"}
MIB, MILLION = 2**20, 1_000_000


def linear(measure: Measure) -> str:
    """Title of the number that ranks the encoders: `Linear probe accuracy`."""
    return f"Linear probe {measure.name}"


def knn(measure: Measure) -> str:
    """Title of the measure by k-NN: `k-NN accuracy`."""
    return f"k-NN {measure.name}"


def with_labels(measure: Measure, budget: str, kind: str = "budgets") -> str:
    """Title of the measure with few labels: `Accuracy with 10 pct labels`, `mAP with 5 labels per class`."""
    share = budget.endswith("%")
    labels = f"{budget[:-1].strip()} pct labels" if share else f"{budget} labels per class"
    return fit(_capital(BUDGETS[kind].format(measure.name, labels)))


def evaluation(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation that a run shows, by title. `metrics`: content of metrics.json."""
    return dict(_evaluation(metrics, measure_of(metrics)))


def _evaluation(metrics: Mapping[str, Any], measure: Measure) -> Iterator[tuple[str, float]]:
    for probe, title in (("linear", linear), ("knn", knn)):
        if probe in metrics:
            yield title(measure), _best(metrics[probe], measure)
    for kind in BUDGETS:
        for budget, result in metrics.get(kind, {}).items():
            if result.get(measure.key) is not None:
                yield with_labels(measure, budget, kind), float(result[measure.key])
    if levels := metrics.get("robustness", {}).get("mean"):
        yield f"{_capital(measure.name)} on corrupted images", fmean(levels)
    if "linear" in metrics.get("transfer", {}):
        yield "Accuracy on the second data set", _best(metrics["transfer"]["linear"], MEASURES["class"])
    if "retrieval" in metrics:
        yield "Retrieval mAP", float(metrics["retrieval"]["map"])
    free = metrics.get("labelfree", {})
    wanted = {"rankme": "Effective rank of the features"}
    if not metrics.get("labelled"):
        wanted |= {"alignment": "Alignment", "uniformity": "Uniformity"}
    yield from ((title, float(free[name])) for name, title in wanted.items() if free.get(name) is not None)


def _best(probe: Mapping[str, Any], measure: Measure) -> float:
    """The measure on test images at the layer that validation chose."""
    return measure.of(probe["layers"][probe["best"]]["test"])


def cost(card: Mapping[str, Any]) -> dict[str, float]:
    """The cost of an encoder, by title. `card`: content of encoder.json."""
    memory = card.get("peak_device_memory_bytes") or card["peak_memory_bytes"]
    numbers = {
        SECONDS: card["seconds"],
        "Images per second": card["images_per_second"],
        "Peak memory in MiB": memory / MIB,
        "Parameters": card["parameters"],
    }
    if "multiply_adds" in card:
        numbers["Million multiply-adds per image"] = card["multiply_adds"] / MILLION
    return {title: float(number) for title, number in numbers.items()}


def curve(name: str) -> str | None:
    """Title of a curve over the steps of a training, such as `train/lr`; None for one that is not shown."""
    section, slash, leaf = name.partition("/")
    if name in AXES:
        return None
    title = CURVES.get(name) or _capital(leaf.replace("_", " "))
    return fit(f"{SECTIONS[section]}/{title}" if slash and section in SECTIONS else name)


def fit(name: str) -> str:
    """A name with the characters that MLflow accepts."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _capital(words: str) -> str:
    """The words with a capital first letter, but for abbreviations such as mAP."""
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]
