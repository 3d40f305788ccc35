"""Records of the stages, made from their files. No MLflow, no torch.

There is one run per pretrained encoder, with its pretraining and its evaluation, and one parent run per comparison. A
tuning has a run per method, and one below it for each trial.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.base.measure import measure_of
from pretextbench.track import fields, record, spool
from pretextbench.track.records import EXPERIMENT, Point, Record
from pretextbench.tune import summary
from pretextbench.tune.summary import Row, Summary


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
        key=str(fields.provisional(card)),
        name=fields.identity(card)[1],
        params=fields.settings(card),
        tags=fields.tags(card) | fields.source(images),
        experiment=experiment,
        data=fields.dataset(images),
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
    card, health = fields.content(folder / "encoder.json"), fields.content(folder / "health.json")
    cost = ["seconds", "images_per_second", "peak_memory_bytes", "peak_device_memory_bytes", "parameters"]
    cost += [name for name in ("views", "multiply_adds", "training_multiply_adds") if name in card]
    live = spool.read(spool_folder) if spool_folder else spool.SpoolState()
    if live.key != fields.provisional(card):
        live = spool.SpoolState()  # the spool is of another training
    last = int(card.get("steps", 0)), float(card["seconds"])
    signs: list[Point] = [
        (f"health/{name}", *last, value) for name, value in fields.numbers(health.get("measures", {})).items()
    ]
    warning = "; ".join([*health.get("symptoms", ()), *live.notes])
    return Record(
        *fields.identity(card),
        params=fields.settings(card),
        metrics={name: card[name] for name in cost},
        tags=fields.tags(card) | {"warning": warning} | (fields.source(images) if images else {}),
        history=history.read_bytes().decode() if (history := folder / "history.csv").is_file() else None,
        files=fields.existing({"pretrain": folder / "samples.png", "augment": augmented / "sheet.png"})
        | fields.existing({"": folder / "encoder.json", "policy": augmented / "policy.json"})
        | ({"watch": pictures} if (pictures := [path for path in live.pictures if Path(path).is_file()]) else {}),
        seconds=card["seconds"],
        stage="pretrain",
        experiment=experiment,
        training=fields.provisional(card),
        points=(*live.points, *signs),
        data=fields.dataset(images) if images else None,
    )


def evaluated(folder: Path, encoder: Path, experiment: str = EXPERIMENT) -> Record:
    """Record of the evaluate stage: numbers (headline numbers under short names), tables, plots, and the encoder.

    The model gives the features of the layer that the evaluation chose, which is not known before.
    """
    card, metrics = fields.content(encoder / "encoder.json"), fields.content(folder / "metrics.json")
    headline = {}
    for probe in ("knn", "linear"):
        if result := metrics.get(probe):
            headline[probe] = measure_of(metrics).of(result["layers"][result["best"]]["test"])
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".csv", ".png"})
    best = {f"{probe}_layer": str(metrics[probe]["best"]) for probe in headline}
    measure = measure_of(metrics)
    unit = "" if measure.name == "accuracy" else f" {measure.name}"
    probe_names = {"linear": "linear probe", "knn": "k-NN"}
    sentences = [
        f"{probe_names[probe]} {100 * value:.1f} %{unit} on test ({best[f'{probe}_layer']})"
        for probe, value in headline.items()
    ]
    return Record(
        *fields.identity(card),
        metrics={f"evaluate/{name}": value for name, value in fields.numbers(metrics).items()} | headline,
        tags=fields.tags(card) | best,
        files={"evaluate": [str(path.resolve()) for path in files]},
        encoder=str(encoder.resolve()),
        layer=str(metrics["linear"]["best"]) if "linear" in metrics else "",
        note=f"{card['method']}, seed {card['seed']}: {', '.join(sentences)}" if sentences else None,
        seconds=card["seconds"],
        stage="evaluate",
        experiment=experiment,
        training=fields.provisional(card),
    )


def compared(reports: Path, encoders: Sequence[Path], experiment: str = EXPERIMENT) -> Record:
    """Record of the compare stage: leaderboard, plots, recommendation. The same encoders give the same run."""
    cards = [fields.content(folder / "encoder.json") for folder in encoders]
    keys = sorted(fields.identity(card)[0] for card in cards)
    files = sorted(path for path in reports.iterdir() if path.is_file())
    text, board = reports / "recommendation.md", fields.rows(reports / "leaderboard.csv")
    best = {method: fields.identity(card)[0] for method, card in chosen(encoders).items()}
    winner = next((row["name"] for row in board if row.get("picked") == "1"), None)
    return Record(
        key="comparison-" + _digest("\n".join(keys)),
        name=f"comparison of {len(keys)} encoders",
        params={"methods": ", ".join(sorted({fields.row_name(card) for card in cards}))},
        metrics={
            f"row/{path.stem}.{name}": value
            for path in sorted((reports / "metrics").glob("*.json"))
            for name, value in fields.numbers(fields.content(path)).items()
        },
        tags={"kind": "comparison", "data_sha256": ", ".join(sorted({card["data_sha256"] for card in cards}))},
        files={"": [str(path.resolve()) for path in files]},
        note=text.read_text(encoding="utf-8") if text.is_file() else None,
        members=tuple(keys),
        stage="compare",
        experiment=experiment,
        tables={"leaderboard.json": {name: [fields.cell(row[name]) for row in board] for name in board[0]}}
        if board
        else {},
        marks={fields.identity(card)[0]: standing(board, fields.row_name(card), winner) for card in cards},
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
        card, linear = fields.content(folder / "encoder.json"), fields.content(folder / "metrics.json").get("linear")
        score = float(linear["layers"][linear["best"]].get("val", 0.0)) if linear else 0.0
        if not card["control"] and score > best.get(fields.row_name(card), (-1.0, {}))[0]:
            best[fields.row_name(card)] = score, card
    return {method: card for method, (_, card) in best.items()}


def model_name(experiment: str, method: str | None = None) -> str:
    """Name of the registered model of a method, or (without `method`) of the recommended one."""
    return f"{experiment}-{method}" if method else experiment


def record_tune(name: str, folder: Path, root: Path, images: Path, experiment: str = EXPERIMENT) -> None:
    """Record the tuning of row `name`, whose files are in `folder`; nothing where no trial was made.

    `images`: the prepared images.
    """
    for entry in tuned(name, folder, images, experiment):
        record(entry, root)


def tuned(name: str, folder: Path, images: Path, experiment: str = EXPERIMENT) -> Iterator[Record]:
    """The run of the method, then those of its trials. Another result has other runs."""
    tuning = summary.read(folder)
    if tuning is None or not tuning.rows:
        return
    data = fields.content(images / "card.json").get("sha256", "")
    keys = [_key(name, data, row) for row in tuning.rows]
    yield Record(
        key="tuning-" + _digest(json.dumps(keys)),
        name=f"tuning of {name}",
        params={"trials": len(tuning.rows), **{f"chosen.{key}": value for key, value in tuning.chosen.items()}},
        metrics={"gain": tuning.gain} if tuning.gain is not None else {},
        tags={"kind": "tuning", "row": name, "data_sha256": data, **fields.source(images)},
        files=fields.existing({"": folder / summary.TRIALS}),
        note=_note(name, tuning),
        seconds=tuning.seconds,
        members=tuple(keys),
        stage="tune",
        experiment=experiment,
        data=fields.dataset(images),
    )
    for key, row in zip(keys, tuning.rows, strict=True):
        yield _trial(name, key, row, experiment)


def _trial(name: str, key: str, row: Row, experiment: str) -> Record:
    scores = {"validation_knn": row.scores[-1]} if row.scores else {}
    return Record(
        key=key,
        name=f"{name}, trial {row.number}",
        params=dict(row.setting),
        metrics={**scores, "images_seen": row.images, "seconds": row.seconds},
        tags={"kind": "trial", "row": name, "state": row.state, "chosen": str(row.chosen)},
        note=row.reason or None,
        seconds=row.seconds,
        stage="tune",
        experiment=experiment,
        points=tuple(("validation_knn", place + 1, row.seconds, score) for place, score in enumerate(row.scores)),
    )


def _key(name: str, data: str, row: Row) -> str:
    """Key of a trial: it changes with its setting, its images and its scores, and not with its seconds."""
    result = [data, row.setting, row.scores, row.images, row.state]
    return f"trial-{name}-{row.number}-" + _digest(json.dumps(result, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _note(name: str, tuning: Summary) -> str:
    if not tuning.chosen:
        return f"{name} keeps its own parameters{f': {tuning.reason}' if tuning.reason else ''}"
    gained = "" if tuning.gain is None else f", {100 * tuning.gain:.1f} points better on validation than its own"
    return f"{name}: {', '.join(f'{key} {value}' for key, value in tuning.chosen.items())}{gained}"
