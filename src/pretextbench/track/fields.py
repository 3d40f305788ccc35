"""Parts of a record from the files of the stages: identity, settings, tags, data set, numbers."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pretextbench.base.colours import line_colour
from pretextbench.base.files import read_json
from pretextbench.track import titles
from pretextbench.track.records import Scalar

COLOUR = "mlflow.runColor"  # MLflow's own tag


def identity(card: Mapping[str, Any]) -> tuple[str, str]:
    """Key and name of the run of an encoder. The key contains the hash of the weights."""
    name = f"{row_name(card)}-{card['seed']}"
    return f"{name}-{card['weights_sha256']}", name


def row_name(card: Mapping[str, Any]) -> str:
    """The row of an encoder in the comparison; it has the name of the method where it has no own."""
    return card.get("row") or str(card["method"])


def provisional(card: Mapping[str, Any]) -> str | None:
    """Key of the live run of an encoder; None for a card without the key of its training."""
    return f"training-{identity(card)[1]}-{card['training']}" if card.get("training") else None


def settings(card: Mapping[str, Any]) -> dict[str, Scalar]:
    """The parameters of a run."""
    return dict(flat({k: card[k] for k in ("params", "encoder", "image_size", "images_seen", "batch_size")}))


def tags(card: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run, for searches. Hashes and versions are in the card, which the run has as a file."""
    names = ("method", "seed", "control", "device", "precision")
    plugin, network = f"{card['distribution']}=={card['version']}", card["encoder"]
    derived = {"plugin": plugin, "kind": "encoder", "encoder": f"{network.get('name')}-{network.get('width')}"}
    own = {"row": row_name(card)} if row_name(card) != card["method"] else {}
    return {name: str(card[name]) for name in names} | derived | own | {COLOUR: line_colour(row_name(card))}


def dataset(images: Path) -> dict[str, str] | None:
    """The prepared images as an MLflow data set; None if their card is missing."""
    card = content(images / "card.json")
    if not card:
        return None
    size = card["image_size"]
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, size, size, 3]}}
    return {
        "name": card["source"],
        "digest": card["sha256"][:8],  # MLflow shows it beside the name
        "source": json.dumps({"uri": images.resolve().as_uri()}),
        "schema": json.dumps({"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}),
        "profile": json.dumps({split: stop - start for split, (start, stop) in card["splits"].items()}),
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    """Nested mappings as pairs of dotted name and value; a value that is no scalar becomes JSON text."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            scalar = value is None or isinstance(value, str | int | float | bool)
            yield f"{prefix}{name}", value if scalar else json.dumps(value)


def numbers(tree: Mapping[str, Any]) -> dict[str, float]:
    """The numeric leaves of nested mappings, under names that MLflow accepts."""
    leaves = ((name, value) for name, value in flat(tree) if isinstance(value, int | float))
    return {titles.fit(name): float(value) for name, value in leaves if not isinstance(value, bool)}


def existing(files: Mapping[str, Path]) -> dict[str, list[str]]:
    """The files that exist, of `files` (folder in the run -> file)."""
    return {folder: [str(path.resolve())] for folder, path in files.items() if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if it is missing."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []


def cell(text: str) -> Scalar:
    """The value of a CSV cell: a number if it is one, None if it is empty, else the text."""
    try:
        return float(text)
    except ValueError:
        return text or None


def content(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file is missing."""
    return read_json(path, "Run the stage that writes it again.") if path.is_file() else {}
