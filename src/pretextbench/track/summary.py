"""What a run in MLflow holds besides curves: settings, tags, the data set, metrics, and its place in the ranking."""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.track.charts import colour
from pretextbench.track.payload import EXPERIMENT, Record, Scalar

COLOUR = "mlflow.runColor"  # MLflow's own tag


def identity(card: Mapping[str, Any]) -> tuple[str, str]:
    """Key and name of the run of an encoder: the weights are part of the key, so another training is another run."""
    name = f"{card['method']}-{card['seed']}"
    return f"{name}-{card['weights_sha256']}", name


def provisional(card: Mapping[str, Any]) -> str | None:
    """Key of the run of an encoder while it trains."""
    return f"training-{identity(card)[1]}-{card['training']}" if card.get("training") else None


def settings(card: Mapping[str, Any]) -> dict[str, Scalar]:
    """The parameters of a run."""
    return dict(flat({k: card[k] for k in ("params", "encoder", "image_size", "images_seen", "batch_size")}))


def tags(card: Mapping[str, Any]) -> dict[str, str]:
    """What a run is searched by."""
    names = (
        "method",
        "seed",
        "control",
        "distribution",
        "version",
        "source_hash",
        "data_sha256",
        "device",
        "precision",
        "image_size",
        "images_seen",
    )
    plugin, network = f"{card['distribution']}=={card['version']}", card["encoder"]
    told = {"plugin": plugin, "kind": "encoder", "encoder": f"{network.get('name')}-{network.get('width')}"}
    return {name: str(card[name]) for name in names} | told | {COLOUR: colour(card["method"], card["control"])}


def dataset(images: Path) -> dict[str, str] | None:
    """The prepared images as MLflow describes a data set; None where there is no card."""
    card = read_json(images / "card.json")
    if not card:
        return None
    size = card["image_size"]
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, size, size, 3]}}
    return {
        "name": card["source"],
        "digest": card["sha256"][:36],  # MLflow's limit
        "source": json.dumps({"uri": images.resolve().as_uri()}),
        "schema": json.dumps({"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}),
        "profile": json.dumps({split: stop - start for split, (start, stop) in card["splits"].items()}),
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    """Nested mappings as dotted names; what is no scalar becomes JSON text."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            scalar = value is None or isinstance(value, str | int | float | bool)
            yield f"{prefix}{name}", value if scalar else json.dumps(value)


def numbers(tree: Mapping[str, Any]) -> dict[str, float]:
    """The numeric leaves of nested mappings, under names that MLflow accepts."""
    leaves = ((name, value) for name, value in flat(tree) if isinstance(value, int | float))
    return {re.sub(r"[^\w\-. /]", "_", name): float(value) for name, value in leaves if not isinstance(value, bool)}


def existing(files: Mapping[str, Path]) -> dict[str, list[str]]:
    """Those of `files` (folder in the run -> file) that are there."""
    return {folder: [str(path.resolve())] for folder, path in files.items() if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none where there is no file."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []


def cell(text: str) -> Scalar:
    """A number where it is one; None where it is empty."""
    try:
        return float(text)
    except ValueError:
        return text or None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


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
