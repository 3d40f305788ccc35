"""The word ENCODER of a command line: a folder, a method or `method-seed` of this project, or the recommended one."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from pretextbench.base.files import read_json
from pretextbench.command.project import results
from pretextbench.errors import UserError, nearest
from pretextbench.project.layout import CARD, EVALUATED, METRICS, PRETRAINED, REPORTS

BEST, LAST = "best", "last"
BOARD = "leaderboard.csv"
HELP = (
    "A folder with encoder.safetensors and encoder.json, or in a project a method (simclr), a method and seed "
    "(simclr-0), or `best`, the recommended one."
)


def find(name: str) -> Path:
    """The folder that holds the encoder called `name`.

    A method stands for its lowest seed. `best` is the method that validation picked, as the recommendation has it.

    Raises:
        UserError: there is no such folder, method or seed, or nothing is recommended yet.
    """
    if (Path(name) / CARD).is_file():
        return Path(name)
    if Path(name).exists() or "/" in name:
        raise UserError(f"ENCODER: {name} holds no {CARD}. {HELP}")
    project = results()
    trained = {path.parent.name for path in (project / PRETRAINED).glob(f"*/{CARD}")}
    if not trained:
        raise UserError(f"ENCODER: {project / PRETRAINED} holds no encoder. Run the comparison: `pretextbench run`.")
    named = _best(project, trained) if name == BEST else name
    chosen = named if named in trained else _lowest_seed(named, trained)
    if chosen is None:
        known = sorted({BEST, *trained, *(_method(run) for run in trained)})
        raise UserError(f"ENCODER: there is no {name!r}.{nearest(name, known)} Trained: {', '.join(sorted(trained))}.")
    return project / PRETRAINED / chosen


def _method(run: str) -> str:
    return run.rpartition("-")[0]


def _lowest_seed(method: str, trained: set[str]) -> str | None:
    seeds = [int(run.rpartition("-")[2]) for run in trained if re.fullmatch(rf"{re.escape(method)}-\d+", run)]
    return f"{method}-{min(seeds)}" if seeds else None


def _best(project: Path, trained: set[str]) -> str:
    """The method that validation picked: the leaderboard marks it."""
    path = project / REPORTS / BOARD
    if not path.is_file():
        raise UserError(f"Cannot read {path}. Run the compare stage; it writes it: `pretextbench run`.")
    rows = _board(path)
    if rows and not any(row.get("linear") for row in rows):
        names = ", ".join(row.get("name") or "" for row in rows)
        raise UserError(f"ENCODER: nothing is recommended without labels. Name a method: {names}.")
    for row in rows:
        if row.get("picked") == "1" and _lowest_seed(row["name"], trained):
            _say_if_open(project, row["name"])
            return row["name"]
    raise UserError(
        f"ENCODER: {path} marks no pretext method that is trained here. Run the comparison: `pretextbench run`."
    )


def _say_if_open(project: Path, picked: str) -> None:
    """A line on the standard error where the report recommends no method: `best` is then only the picked one."""
    answer = project / REPORTS / "recommendation.md"
    text = answer.read_text(encoding="utf-8") if answer.is_file() else ""
    if lead := re.search(r"\*\*(Open: .*?)\*\*", text):
        lead_sentence = lead[1].rstrip(".")
        typer.echo(
            f'note: the report says "{lead_sentence}". Validation picked {picked}, so `best` is {picked}.', err=True
        )


def _board(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Layer(NamedTuple):
    """The layer of an encoder that a command uses."""

    name: str
    choice: str  # why this one, in words

    def __str__(self) -> str:
        return f"{self.name} ({self.choice})"


RANKED = "the ranked one"


def find_layer(folder: Path, layer: str | None, layers: Sequence[str]) -> Layer:
    """The layer that `--layer` names; without it the ranked one, or the last where none is ranked.

    Args:
        folder: of the encoder.
        layer: a layer, `last`, `best` (the ranked one or an error), or None where the option is not given.
        layers: of the encoder, first to last.

    Raises:
        UserError: there is no such layer, or none is ranked and `best` asks for it.
    """
    ranked, reason = _ranked_layer(folder)
    if layer is None:
        known = ranked is not None and ranked in layers
        return Layer(ranked, RANKED) if ranked and known else Layer(layers[-1], f"the last one: {reason}")
    if layer == BEST:
        if ranked is None:
            raise UserError(f"--layer best: {reason}. Name a layer instead: {', '.join(layers)}.")
        return Layer(ranked, RANKED)
    name = layers[-1] if layer == LAST else layer
    if name not in layers:
        allowed = [LAST, BEST, *layers]
        raise UserError(
            f"--layer: there is no layer {layer!r}.{nearest(layer, allowed)} Allowed: {', '.join(allowed)}."
        )
    ranked_note = f"; {ranked} is the ranked one" if ranked else ""
    return Layer(name, RANKED if name == ranked else f"{'the last one' if layer == LAST else 'as asked'}{ranked_note}")


def _ranked_layer(folder: Path) -> tuple[str | None, str]:
    """The layer that the leaderboard names for the encoder's row, else the one that its evaluation chose.

    Both are chosen on validation by the linear probe: of all seeds together, or of this one. Without either the second
    value is the reason.
    """
    place = folder.resolve()
    if place.parts[-3:-1] != PRETRAINED.parts:
        return None, "the encoder is not in a project, so none is ranked"
    project = place.parents[2]
    board = project / REPORTS / BOARD
    if board.is_file():
        rows = {row.get("name"): row.get("linear_layer") for row in _board(board)}
        if layer := rows.get(_method(place.name)):
            return layer, ""
    evaluation = project / EVALUATED / place.name / METRICS
    if not evaluation.is_file():
        return None, "this encoder was not evaluated, so none is ranked"
    chosen = (
        read_json(evaluation, "Run the evaluate stage; it writes it: `pretextbench run`.").get("linear", {}).get("best")
    )
    return chosen, "there were no labels to rank them by"
