"""The records of the three stages that are recorded, read from the files that they left. No MLflow, no torch here.

One run per pretrained encoder holds its pretraining and its evaluation; one run per comparison is their parent.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.track import Record, Scalar, record


def record_pretrain(folder: Path, augmented: Path, root: Path) -> str | None:
    """Record the encoder in `folder`, with what its augment stage left in `augmented`; returns the run id or None."""
    return record(pretrained(folder, augmented), root)


def record_evaluate(folder: Path, encoder: Path, root: Path) -> str | None:
    """Add what the evaluate stage left in `folder` to the run of `encoder`, the folder of the pretrain stage."""
    return record(evaluated(folder, encoder), root)


def record_compare(reports: Path, encoders: Sequence[Path], root: Path) -> str | None:
    """Record the comparison in `reports` as the parent of the runs of `encoders`."""
    return record(compared(reports, encoders), root)


def pretrained(folder: Path, augmented: Path) -> Record:
    """Parameters, cost, history, pictures and the encoder itself."""
    card = read_json(folder / "encoder.json")
    cost = ("seconds", "images_per_second", "peak_memory_bytes", "peak_device_memory_bytes", "parameters")
    health = read_json(folder / "health.json").get("measures", {})
    return Record(
        *identity(card),
        params=dict(flat({k: card[k] for k in ("params", "encoder", "image_size", "images_seen", "batch_size")})),
        metrics={name: card[name] for name in cost} | numbers({"health": health}),
        tags=tags(card),
        history=history.read_bytes().decode() if (history := folder / "history.csv").is_file() else None,
        files=existing({"pretrain": folder / "samples.png", "augment": augmented / "sheet.png"})
        | existing({"": folder / "encoder.json", "policy": augmented / "policy.json"}),
        encoder=str(folder.resolve()),
        seconds=card["seconds"],
        stage="pretrain",
    )


def evaluated(folder: Path, encoder: Path) -> Record:
    """Every number of the evaluation, the headline ones under short names, and its tables and plots."""
    card, metrics = read_json(encoder / "encoder.json"), read_json(folder / "metrics.json")
    headline = {}
    for probe in ("knn", "linear"):
        if found := metrics.get(probe):
            headline[probe] = found["layers"][found["best"]]["test"]["top1"]
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".csv", ".png"})
    best = {f"{probe}_layer": str(metrics[probe]["best"]) for probe in headline}
    return Record(
        *identity(card),
        metrics=numbers(metrics) | headline,
        tags=tags(card) | best,
        files={"evaluate": [str(path.resolve()) for path in files]},
        seconds=card["seconds"],
        stage="evaluate",
    )


def compared(reports: Path, encoders: Sequence[Path]) -> Record:
    """The leaderboard, plots and recommendation; the same encoders compared again are the same comparison."""
    cards = [read_json(folder / "encoder.json") for folder in encoders]
    keys = sorted(identity(card)[0] for card in cards)
    files = sorted(path for path in reports.iterdir() if path.is_file())
    text = reports / "recommendation.md"
    return Record(
        key="comparison-" + hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16],
        name=f"comparison of {len(keys)} encoders",
        params={"methods": ", ".join(sorted({card["method"] for card in cards}))},
        metrics=numbers(read_json(reports / "metrics.json")),
        tags={"kind": "comparison", "data_sha256": ", ".join(sorted({card["data_sha256"] for card in cards}))},
        files={"": [str(path.resolve()) for path in files]},
        note=text.read_text(encoding="utf-8") if text.is_file() else None,
        members=tuple(keys),
        stage="compare",
    )


def identity(card: Mapping[str, Any]) -> tuple[str, str]:
    """Key and name of the run of an encoder: the weights are part of the key, so another training is another run."""
    name = f"{card['method']}-{card['seed']}"
    return f"{name}-{card['weights_sha256']}", name


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
    )
    plugin = f"{card['distribution']}=={card['version']}"
    return {name: str(card[name]) for name in names} | {"plugin": plugin, "kind": "encoder"}


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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
