"""Records of the pretrain, evaluate and compare stages, made from the files of the stages. No MLflow, no torch.

There is one run per pretrained encoder, with its pretraining and its evaluation, and one parent run per comparison.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.track import record, spool
from pretextbench.track.records import EXPERIMENT, Point, Record
from pretextbench.track.summary import (
    cell,
    content,
    dataset,
    existing,
    identity,
    numbers,
    provisional,
    row_name,
    rows,
    settings,
    source,
    tags,
)


def record_pretrain(
    folder: Path,
    augmented: Path,
    root: Path,
    images: Path | None = None,
    spool_folder: Path | None = None,
    experiment: str = EXPERIMENT,
) -> str | None:
    """Record the encoder in `folder`, and the files of its augment stage in `augmented`; returns the run id or None.

    `images`: the prepared images. `spool_folder`: the spool of the training.
    """
    return record(pretrained(folder, augmented, images, spool_folder, experiment), root)


def record_evaluate(folder: Path, encoder: Path, root: Path, experiment: str = EXPERIMENT) -> str | None:
    """Add the files of the evaluate stage in `folder` to the run of the encoder in the folder `encoder`."""
    return record(evaluated(folder, encoder, experiment), root)


def record_compare(reports: Path, encoders: Sequence[Path], root: Path, experiment: str = EXPERIMENT) -> str | None:
    """Record the comparison in `reports` as the parent of the runs of `encoders`."""
    return record(compared(reports, encoders, experiment), root)


def started(card: Mapping[str, Any], images: Path, experiment: str) -> Record:
    """Record of a training that begins. Its key is replaced by the one of the encoder when that is finished."""
    return Record(
        key=str(provisional(card)),
        name=identity(card)[1],
        params=settings(card),
        tags=tags(card) | source(images),
        experiment=experiment,
        data=dataset(images),
        stage="begin",
    )


def pretrained(
    folder: Path,
    augmented: Path,
    images: Path | None = None,
    spool_folder: Path | None = None,
    experiment: str = EXPERIMENT,
) -> Record:
    """Record of the pretrain stage: parameters, cost, history, pictures. The evaluation adds the encoder as a model."""
    card, health = content(folder / "encoder.json"), content(folder / "health.json")
    cost = ["seconds", "images_per_second", "peak_memory_bytes", "peak_device_memory_bytes", "parameters"]
    cost += [name for name in ("views", "multiply_adds", "training_multiply_adds") if name in card]
    live = spool.read(spool_folder) if spool_folder else spool.SpoolState()
    if live.key != provisional(card):
        live = spool.SpoolState()  # the spool is of another training
    last = int(card.get("steps", 0)), float(card["seconds"])
    signs: list[Point] = [
        (f"health/{name}", *last, value) for name, value in numbers(health.get("measures", {})).items()
    ]
    warning = "; ".join([*health.get("symptoms", ()), *live.notes])
    return Record(
        *identity(card),
        params=settings(card),
        metrics={name: card[name] for name in cost},
        tags=tags(card) | {"warning": warning} | (source(images) if images else {}),
        history=history.read_bytes().decode() if (history := folder / "history.csv").is_file() else None,
        files=existing({"pretrain": folder / "samples.png", "augment": augmented / "sheet.png"})
        | existing({"": folder / "encoder.json", "policy": augmented / "policy.json"})
        | ({"watch": pictures} if (pictures := [path for path in live.pictures if Path(path).is_file()]) else {}),
        seconds=card["seconds"],
        stage="pretrain",
        experiment=experiment,
        training=provisional(card),
        points=(*live.points, *signs),
        data=dataset(images) if images else None,
    )


def evaluated(folder: Path, encoder: Path, experiment: str = EXPERIMENT) -> Record:
    """Record of the evaluate stage: numbers (headline numbers under short names), tables, plots, and the encoder.

    The model gives the features of the layer that the evaluation chose, which is not known before.
    """
    card, metrics = content(encoder / "encoder.json"), content(folder / "metrics.json")
    headline = {}
    for probe in ("knn", "linear"):
        if result := metrics.get(probe):
            headline[probe] = result["layers"][result["best"]]["test"]["top1"]
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".csv", ".png"})
    best = {f"{probe}_layer": str(metrics[probe]["best"]) for probe in headline}
    probe_names = {"linear": "linear probe", "knn": "k-NN"}
    sentences = [
        f"{probe_names[probe]} {100 * value:.1f} % on test ({best[f'{probe}_layer']})"
        for probe, value in headline.items()
    ]
    return Record(
        *identity(card),
        metrics={f"evaluate/{name}": value for name, value in numbers(metrics).items()} | headline,
        tags=tags(card) | best,
        files={"evaluate": [str(path.resolve()) for path in files]},
        encoder=str(encoder.resolve()),
        layer=str(metrics["linear"]["best"]) if "linear" in metrics else "",
        note=f"{card['method']}, seed {card['seed']}: {', '.join(sentences)}" if sentences else None,
        seconds=card["seconds"],
        stage="evaluate",
        experiment=experiment,
        training=provisional(card),
    )


def compared(reports: Path, encoders: Sequence[Path], experiment: str = EXPERIMENT) -> Record:
    """Record of the compare stage: leaderboard, plots, recommendation. The same encoders give the same run."""
    cards = [content(folder / "encoder.json") for folder in encoders]
    keys = sorted(identity(card)[0] for card in cards)
    files = sorted(path for path in reports.iterdir() if path.is_file())
    text, board = reports / "recommendation.md", rows(reports / "leaderboard.csv")
    best = {method: identity(card)[0] for method, card in chosen(encoders).items()}
    winner = next((row["name"] for row in board if row.get("picked") == "1"), None)
    return Record(
        key="comparison-" + hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16],
        name=f"comparison of {len(keys)} encoders",
        params={"methods": ", ".join(sorted({row_name(card) for card in cards}))},
        metrics={f"row/{name}": value for name, value in numbers(content(reports / "metrics.json")).items()},
        tags={"kind": "comparison", "data_sha256": ", ".join(sorted({card["data_sha256"] for card in cards}))},
        files={"": [str(path.resolve()) for path in files]},
        note=text.read_text(encoding="utf-8") if text.is_file() else None,
        members=tuple(keys),
        stage="compare",
        experiment=experiment,
        tables={"leaderboard.json": {name: [cell(row[name]) for row in board] for name in board[0]}} if board else {},
        marks={identity(card)[0]: standing(board, row_name(card), winner) for card in cards},
        models={model_name(experiment, method): key for method, key in best.items()}
        | ({model_name(experiment): best[winner]} if winner in best else {}),
    )


def standing(board: Sequence[Mapping[str, str]], method: str, winner: str | None) -> dict[str, str]:
    """Tags of a method from the leaderboard: its rank, its tie group, whether it is recommended."""
    place = next((i for i, row in enumerate(board, 1) if row["name"] == method), None)
    if place is None:
        return {}
    return {"rank": str(place), "tie": board[place - 1]["tie_group"], "best": str(method == winner)}


def chosen(evaluations: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Card of the best seed of each method, by validation accuracy (never by test). Controls are left out."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for folder in evaluations:
        card, linear = content(folder / "encoder.json"), content(folder / "metrics.json").get("linear")
        score = float(linear["layers"][linear["best"]].get("val", 0.0)) if linear else 0.0
        if not card["control"] and score > best.get(row_name(card), (-1.0, {}))[0]:
            best[row_name(card)] = score, card
    return {method: card for method, (_, card) in best.items()}


def model_name(experiment: str, method: str | None = None) -> str:
    """Name of the registered model of a method, or (without `method`) of the recommended one."""
    return f"{experiment}-{method}" if method else experiment
