"""Records of the stages, made from their files. No MLflow, no torch.

There is one run per pretrained encoder, with its pretraining and its evaluation, and one parent run per comparison.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.base.measure import measure_of
from pretextbench.track import fields, record, spool, titles
from pretextbench.track.records import EXPERIMENT, Point, Record, digest

LAYER_TAGS = {"layer": "linear", "knn_layer": "knn"}  # the ranked layer is the one of the linear probe
COMPARISON_COLOUR = "#666666"  # in the list of runs


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
        tags=fields.tags(card),
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
        metrics=titles.cost(card),
        tags=fields.tags(card) | {"warning": warning},
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
    """Record of the evaluate stage: the numbers that a run shows, tables, plots, and the encoder.

    The model gives the features of the layer that the evaluation chose, which is not known before.
    """
    card, metrics = fields.content(encoder / "encoder.json"), fields.content(folder / "metrics.json")
    numbers, measure = titles.evaluation(metrics), measure_of(metrics)
    layers = {probe: str(metrics[probe]["best"]) for probe in ("linear", "knn") if probe in metrics}
    unit = "" if measure.name == "accuracy" else f" {measure.name}"
    sentences = [
        f"{name} {100 * numbers[title]:.1f} %{unit} on test ({layers[probe]})"
        for probe, name, title in (
            ("linear", "linear probe", titles.linear(measure)),
            ("knn", "k-NN", titles.knn(measure)),
        )
        if probe in layers
    ]
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".csv", ".png"})
    return Record(
        *fields.identity(card),
        metrics=numbers,
        tags=fields.tags(card) | {tag: layers[probe] for tag, probe in LAYER_TAGS.items() if probe in layers},
        files={"evaluate": [str(path.resolve()) for path in files]},
        encoder=str(encoder.resolve()),
        layer=layers.get("linear", ""),
        note=f"{fields.row_name(card)}, seed {card['seed']}: {', '.join(sentences)}" if sentences else None,
        seconds=card["seconds"],
        stage="evaluate",
        experiment=experiment,
        training=fields.provisional(card),
        measure=_task(metrics),
    )


def _without_heading(text: str) -> str:
    """A recommendation without its heading: MLflow shows the first lines of a description."""
    heading, _, content = text.partition("\n")
    return content.strip() if heading.startswith("# ") else text


def _task(metrics: Mapping[str, Any]) -> str:
    """Name of the task of an evaluation; empty without labels."""
    return str(metrics.get("task", {}).get("name", "class")) if metrics.get("labelled") else ""


def compared(reports: Path, encoders: Sequence[Path], experiment: str = EXPERIMENT) -> Record:
    """Record of the compare stage: leaderboard, plots, recommendation. The same encoders give the same run."""
    cards = [fields.content(folder / "encoder.json") for folder in encoders]
    keys = sorted(fields.identity(card)[0] for card in cards)
    files = sorted(path for path in reports.iterdir() if path.is_file())
    advice, board = reports / "recommendation.md", fields.rows(reports / "leaderboard.csv")
    text = advice.read_text(encoding="utf-8") if advice.is_file() else None
    best = {method: fields.identity(card)[0] for method, card in chosen(encoders).items()}
    winner = next((row["name"] for row in board if row.get("picked") == "1"), None)
    return Record(
        key="comparison-" + digest("\n".join(keys)),
        name="Comparison (report)",
        params={"methods": ", ".join(sorted({fields.row_name(card) for card in cards}))},
        tags={"kind": "comparison", "recommended": winner or "", fields.COLOUR: COMPARISON_COLOUR},
        files={"": [str(path.resolve()) for path in files]},
        note=_without_heading(text) if text else None,
        summary=_without_heading(text).partition("\n## ")[0].replace("**", "").strip() if text else None,
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
    """Card of the best seed of each method, by validation accuracy (never by test).

    Controls are left out, and without labels no seed is the best.
    """
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for folder in evaluations:
        card, linear = fields.content(folder / "encoder.json"), fields.content(folder / "metrics.json").get("linear")
        if not linear or card["control"]:
            continue
        score = float(linear["layers"][linear["best"]].get("val", 0.0))
        if score > best.get(fields.row_name(card), (-1.0, {}))[0]:
            best[fields.row_name(card)] = score, card
    return {method: card for method, (_, card) in best.items()}


def model_name(experiment: str, method: str | None = None) -> str:
    """Name of the registered model of a method, or (without `method`) of the recommended one."""
    return f"{experiment}-{method}" if method else experiment
