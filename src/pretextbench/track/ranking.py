"""The record of a comparison: the leaderboard, and what it says of its members. No MLflow, no torch here."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.track.cards import cell, identity, numbers, read_json, rows
from pretextbench.track.facts import EXPERIMENT, Record


def compared(reports: Path, encoders: Sequence[Path], experiment: str = EXPERIMENT) -> Record:
    """The leaderboard, plots and recommendation; the same encoders compared again are the same comparison."""
    cards = [read_json(folder / "encoder.json") for folder in encoders]
    keys = sorted(identity(card)[0] for card in cards)
    files = sorted(path for path in reports.iterdir() if path.is_file())
    text, board = reports / "recommendation.md", rows(reports / "leaderboard.csv")
    best = {method: identity(card)[0] for method, card in chosen(encoders).items()}
    winner = next((row["name"] for row in board if row["kind"] == "method" and row["tie_group"]), None)
    return Record(
        key="comparison-" + hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16],
        name=f"comparison of {len(keys)} encoders",
        params={"methods": ", ".join(sorted({card["method"] for card in cards}))},
        metrics={f"row/{name}": value for name, value in numbers(read_json(reports / "metrics.json")).items()},
        tags={"kind": "comparison", "data_sha256": ", ".join(sorted({card["data_sha256"] for card in cards}))},
        files={"": [str(path.resolve()) for path in files]},
        note=text.read_text(encoding="utf-8") if text.is_file() else None,
        members=tuple(keys),
        stage="compare",
        experiment=experiment,
        tables={"leaderboard.json": {name: [cell(row[name]) for row in board] for name in board[0]}} if board else {},
        marks={identity(card)[0]: standing(board, card["method"], winner) for card in cards},
        models={model_name(experiment, method): key for method, key in best.items()}
        | ({model_name(experiment): best[winner]} if winner in best else {}),
    )


def standing(board: Sequence[Mapping[str, str]], method: str, winner: str | None) -> dict[str, str]:
    """What the leaderboard says about a method, as tags: its place, its tie group, whether it is recommended."""
    place = next((i for i, row in enumerate(board, 1) if row["name"] == method), None)
    if place is None:
        return {}
    return {"rank": str(place), "tie": board[place - 1]["tie_group"], "best": str(method == winner)}


def chosen(evaluations: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Of each method that is no control, the card of the seed that does best on validation; test chooses nothing."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for folder in evaluations:
        card, linear = read_json(folder / "encoder.json"), read_json(folder / "metrics.json").get("linear")
        score = float(linear["layers"][linear["best"]].get("val", 0.0)) if linear else 0.0
        if not card["control"] and score > best.get(card["method"], (-1.0, {}))[0]:
            best[card["method"]] = score, card
    return {method: card for method, (_, card) in best.items()}


def model_name(experiment: str, method: str | None = None) -> str:
    """Of the registered model: of a method, or of the one that the comparison recommends."""
    return f"{experiment}-{method}" if method else experiment
