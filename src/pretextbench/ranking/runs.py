"""The evaluations that a comparison reads, and the checks that they can be compared."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pretextbench.base.files import read_json
from pretextbench.errors import UserError
from pretextbench.project import layout

METRICS, PREDICTIONS, CARD = layout.METRICS, "predictions.npz", layout.CARD
WRITTEN_BY = "Run the {} stage of this run; it writes it."
MIB = 2**20
Kind = Literal["method", "control", "reference"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order of the rows before they are ranked


@dataclass(frozen=True)
class Run:
    """One method, control or reference at one seed."""

    name: str
    seed: int
    kind: Kind
    metrics: dict[str, Any]  # see evaluate.record.Evaluation
    predictions: dict[str, npt.NDArray[Any]]  # ditto; empty where there are none
    images_seen: int
    seconds: float  # of pretraining
    images_per_second: float
    peak_memory_mib: float  # of the process, or of the accelerator where there was one
    parameters: int
    views: int = 0  # of an image, that a training step sees
    multiply_adds: int = 0  # of one image through the encoder
    training_multiply_adds: int = 0  # of one image in the forward passes of a training step
    budget_multiply_adds: float | None = None  # the budget, where it was given in them: pretrain.multiply_adds
    encoder: str = ""  # architecture
    method: str = ""  # which the row is a variant of, or has the name of
    from_scratch: bool = False  # trained from random weights
    missing: str | None = None  # why there are no predictions, if there should be some
    folder: Path | None = None  # of the evaluation: pictures, map and history lie there


def read(evaluations: Path, names: Sequence[str]) -> list[Run]:
    """Read runs by the name of their folder, such as `simclr-0`.

    Args:
        evaluations: holds one folder per run, with metrics.json, predictions.npz and encoder.json, the encoder's card.

    Raises:
        UserError: a metrics file or a card is missing or broken. Predictions that are missing do not raise: the run
            comes back with `missing` set, for an empty cell with its reason.
    """
    return [_read(evaluations / name) for name in names]


def _read(folder: Path) -> Run:
    metrics = read_json(folder / METRICS, WRITTEN_BY.format("evaluate"))
    card = read_json(folder / CARD, WRITTEN_BY.format("pretrain"))
    predictions, missing = {}, None
    if metrics.get("labelled"):
        try:
            with np.load(folder / PREDICTIONS) as stored:
                predictions = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            missing = f"{folder.name}/{PREDICTIONS} cannot be read ({type(error).__name__})"
    try:
        return Run(
            name=card.get("row") or card["method"],
            seed=card["seed"],
            kind=_kind(card),
            metrics=metrics,
            predictions=predictions,
            images_seen=card["images_seen"],
            seconds=card["seconds"],
            images_per_second=card["images_per_second"],
            peak_memory_mib=(card.get("peak_device_memory_bytes") or card["peak_memory_bytes"]) / MIB,
            parameters=card["parameters"],
            views=card["views"],
            multiply_adds=card["multiply_adds"],
            training_multiply_adds=card["training_multiply_adds"],
            budget_multiply_adds=card.get("budget_multiply_adds"),
            encoder=card["encoder"]["name"],
            method=card["method"],
            from_scratch=not card["encoder"].get("weights"),
            missing=missing,
            folder=folder,
        )
    except KeyError as error:
        raise UserError(f"{folder / CARD} says nothing of {error}. Run the pretrain stage again.") from error


def _kind(card: Mapping[str, Any]) -> Kind:
    if card.get("row") and card["method"] == UNTOUCHED:
        return "reference"
    return "control" if card["control"] else "method"


RANDOM, PIXELS, UNTOUCHED = UNTRAINED = "random", "pixels", "untouched"  # the controls that are not trained
SUPERVISED = "supervised"  # the control that is trained with all labels
SAME = (
    "index",
    "label",
    "group",
    "robust.index",
    "robust.label",
    "transfer.index",
    "transfer.label",
)  # in all predictions
ROUNDING = 0.01  # budgets that differ by less are equal: a budget is spent in whole batches


def by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row: methods first, then controls, then references; seeds in order."""
    if not runs:
        raise UserError("There is nothing to compare: no runs were given. Name methods or controls in `compare`.")
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (KINDS.index(run.kind), run.name, run.seed)):
        group = groups.setdefault(run.name, [])
        if any(run.seed == earlier.seed for earlier in group):
            raise UserError(f"The run {run.name}-{run.seed} is there twice. Give each method and seed once.")
        group.append(run)
    return groups


def check_budgets(groups: Mapping[str, list[Run]], allowed: bool) -> bool:
    """Whether budgets differ; an encoder that was not trained has none. Rows of one budget of work see other images."""
    if common_work(groups) is not None:
        return False
    seen = {f"{run.name}-{run.seed}": run.images_seen for run in _trained(groups)}
    if not seen or max(seen.values()) - min(seen.values()) <= ROUNDING * max(seen.values()):
        return False
    if not allowed:
        listed = ", ".join(f"{name} {images:,}" for name, images in seen.items())
        raise UserError(
            f"The budgets differ, so the rows cannot be ranked; images seen: {listed}. Pretrain all of them with the "
            "same `pretrain.images`, `pretrain.epochs` or `pretrain.multiply_adds`, or set "
            "`compare.allow_unequal_budgets: true`."
        )
    return True


def common_work(groups: Mapping[str, list[Run]]) -> float | None:
    """The budget in multiply-adds that all trainings were given; None where it was in images, or differs."""
    budgets = {run.budget_multiply_adds for run in _trained(groups)}
    return budgets.pop() if len(budgets) == 1 else None


def _trained(groups: Mapping[str, list[Run]]) -> list[Run]:
    runs = [run for group in groups.values() for run in group]
    return [run for run in runs if run.kind != "reference" and run.name not in UNTRAINED]


def check_same_test(runs: Sequence[Run]) -> None:
    """Refuse runs that were evaluated on different test images or labels."""
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = (r.metrics["data"]["fingerprint"] for r in (first, run))
        same = ours == theirs and all(
            np.array_equal(first.predictions[key], run.predictions[key])
            for key in SAME
            if key in first.predictions and key in run.predictions
        )
        if not same or first.metrics["labelled"] != run.metrics["labelled"]:
            raise UserError(
                f"{first.name}-{first.seed} and {run.name}-{run.seed} were evaluated on different test images or labels"
                f" (fingerprints {ours[:12]} and {theirs[:12]}), so they cannot be compared. Run the evaluate stage of "
                "all rows on the same prepared data."
            )
