"""What must hold before runs may be ranked: each is there once, all had one budget, all saw the same test images."""

from collections.abc import Mapping, Sequence

import numpy as np

from pretextbench.compare.runs import Run
from pretextbench.errors import UserError

RANDOM = "random"  # the control that is not trained
SAME = ("index", "label", "robust.index", "robust.label", "transfer.index", "transfer.label")  # in all predictions
ROUNDING = 0.01  # budgets that differ by less are equal: a budget is spent in whole batches


def by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each row: methods first, then controls, seeds in order."""
    if not runs:
        raise UserError("There is nothing to compare: no runs were given. Name methods or controls in `compare`.")
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.control, run.name, run.seed)):
        group = groups.setdefault(run.name, [])
        if any(run.seed == other.seed for other in group):
            raise UserError(f"The run {run.name}-{run.seed} is there twice. Give each method and seed once.")
        group.append(run)
    return groups


def check_budgets(groups: Mapping[str, list[Run]], allowed: bool) -> bool:
    """Whether budgets differ; an encoder that was not trained has none."""
    seen = {
        f"{run.name}-{run.seed}": run.images_seen for group in groups.values() for run in group if run.name != RANDOM
    }
    if not seen or max(seen.values()) - min(seen.values()) <= ROUNDING * max(seen.values()):
        return False
    if not allowed:
        listed = ", ".join(f"{name} {images:,}" for name, images in seen.items())
        raise UserError(
            f"The budgets differ, so the rows cannot be ranked; images seen: {listed}. Pretrain all of them with the "
            "same `pretrain.images` or `pretrain.epochs`, or set `compare.allow_unequal_budgets: true`."
        )
    return True


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
