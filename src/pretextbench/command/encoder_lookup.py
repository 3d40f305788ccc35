"""The word ENCODER of a command line: a folder, a method or `method-seed` of this project, or the recommended one."""

import json
import re
from pathlib import Path
from typing import Any

from pretextbench.command.project import root
from pretextbench.errors import UserError, nearest
from pretextbench.project.layout import CARD, EVALUATED, METRICS, PRETRAINED, REPORTS

BEST = "best"
HELP = (
    "A folder with encoder.safetensors and encoder.json, or in a project a method (simclr), a method and seed "
    "(simclr-0), or `best`, the recommended one."
)


def find(word: str) -> Path:
    """The folder that holds the encoder called `word`.

    A method stands for its lowest seed. `best` is the first method of the leaderboard, as the recommendation has it.

    Raises:
        UserError: there is no such folder, method or seed, or nothing is recommended yet.
    """
    if (Path(word) / CARD).is_file():
        return Path(word)
    if Path(word).exists() or "/" in word:
        raise UserError(f"ENCODER: {word} holds no {CARD}. {HELP}")
    project = root()
    trained = {path.parent.name for path in (project / PRETRAINED).glob(f"*/{CARD}")}
    if not trained:
        raise UserError(f"ENCODER: {project / PRETRAINED} holds no encoder. Run the comparison: `pretextbench run`.")
    name = _best(project, trained) if word == BEST else word
    chosen = name if name in trained else _lowest_seed(name, trained)
    if chosen is None:
        known = sorted({BEST, *trained, *(_method(run) for run in trained)})
        raise UserError(f"ENCODER: there is no {word!r}.{nearest(word, known)} Trained: {', '.join(sorted(trained))}.")
    return project / PRETRAINED / chosen


def _method(run: str) -> str:
    return run.rpartition("-")[0]


def _lowest_seed(method: str, trained: set[str]) -> str | None:
    seeds = [int(run.rpartition("-")[2]) for run in trained if re.fullmatch(rf"{re.escape(method)}-\d+", run)]
    return f"{method}-{min(seeds)}" if seeds else None


def _best(project: Path, trained: set[str]) -> str:
    """The first row that is no control: rows are best first."""
    rows = _read(project / REPORTS / METRICS, "Run the compare stage; it writes it: `pretextbench run`.")
    if not any("linear" in row for row in rows.values()):
        raise UserError(f"ENCODER: nothing is recommended without labels. Name a method: {', '.join(rows)}.")
    for name, row in rows.items():
        run = _lowest_seed(name, trained)
        if run and "linear" in row and not _read(project / PRETRAINED / run / CARD, "").get("control"):
            return name
    raise UserError(
        f"ENCODER: {project / REPORTS / METRICS} names no pretext method that is trained here. Run the comparison."
    )


def best_layer(folder: Path) -> str:
    """The stage that the evaluation of this encoder chose on validation, for the linear probe.

    Raises:
        UserError: the encoder was not evaluated, or had no labels to choose by.
    """
    evaluation = folder.resolve().parents[1] / EVALUATED.name / folder.resolve().name / METRICS
    metrics = _read(evaluation, "`--layer best` needs the evaluation of this encoder; name a layer instead.")
    layer = metrics.get("linear", {}).get("best")
    if layer is None:
        raise UserError(f"--layer best: {evaluation} chose none, for want of labels. Name a layer instead.")
    return str(layer)


def _read(path: Path, advice: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path} ({error}). {advice}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not what was written there. {advice}")
    return found
