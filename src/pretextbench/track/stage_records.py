"""The records of the three stages that are recorded, read from the files that they left. No MLflow, no torch here.

One run per pretrained encoder holds its pretraining and its evaluation; one run per comparison is their parent.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench.track import Record, record, spool
from pretextbench.track.payload import EXPERIMENT, Point
from pretextbench.track.summary import (
    compared,
    dataset,
    existing,
    identity,
    numbers,
    provisional,
    read_json,
    settings,
    tags,
)


def record_pretrain(
    folder: Path,
    augmented: Path,
    root: Path,
    images: Path | None = None,
    told: Path | None = None,
    experiment: str = EXPERIMENT,
) -> str | None:
    """Record the encoder in `folder`, with what its augment stage left in `augmented`; returns the run id or None.

    `images`: the prepared images. `told`: the spool of the training.
    """
    return record(pretrained(folder, augmented, images, told, experiment), root)


def record_evaluate(folder: Path, encoder: Path, root: Path, experiment: str = EXPERIMENT) -> str | None:
    """Add what the evaluate stage left in `folder` to the run of `encoder`, the folder of the pretrain stage."""
    return record(evaluated(folder, encoder, experiment), root)


def record_compare(reports: Path, encoders: Sequence[Path], root: Path, experiment: str = EXPERIMENT) -> str | None:
    """Record the comparison in `reports` as the parent of the runs of `encoders`."""
    return record(compared(reports, encoders, experiment), root)


def started(card: Mapping[str, Any], images: Path, experiment: str) -> Record:
    """A training that begins: what is known of it, under a key that is replaced when its encoder is there."""
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
    folder: Path, augmented: Path, images: Path | None = None, told: Path | None = None, experiment: str = EXPERIMENT
) -> Record:
    """Parameters, cost, history, pictures and the encoder itself."""
    card, health = read_json(folder / "encoder.json"), read_json(folder / "health.json")
    cost = ("seconds", "images_per_second", "peak_memory_bytes", "peak_device_memory_bytes", "parameters")
    said = spool.story(told) if told else spool.Story()
    if said.key != provisional(card):
        said = spool.Story()  # of another training
    last = int(card.get("steps", 0)), float(card["seconds"])
    signs: list[Point] = [
        (f"health/{name}", *last, value) for name, value in numbers(health.get("measures", {})).items()
    ]
    warning = "; ".join([*health.get("symptoms", ()), *said.notes])
    return Record(
        *identity(card),
        params=settings(card),
        metrics={name: card[name] for name in cost},
        tags=tags(card) | {"warning": warning} | (source(images) if images else {}),
        history=history.read_bytes().decode() if (history := folder / "history.csv").is_file() else None,
        files=existing({"pretrain": folder / "samples.png", "augment": augmented / "sheet.png"})
        | existing({"": folder / "encoder.json", "policy": augmented / "policy.json"})
        | ({"watch": pictures} if (pictures := [path for path in said.pictures if Path(path).is_file()]) else {}),
        encoder=str(folder.resolve()),
        seconds=card["seconds"],
        stage="pretrain",
        experiment=experiment,
        training=provisional(card),
        points=(*said.points, *signs),
        data=dataset(images) if images else None,
    )


def evaluated(folder: Path, encoder: Path, experiment: str = EXPERIMENT) -> Record:
    """Every number of the evaluation, the headline ones under short names, and its tables and plots."""
    card, metrics = read_json(encoder / "encoder.json"), read_json(folder / "metrics.json")
    headline = {}
    for probe in ("knn", "linear"):
        if found := metrics.get(probe):
            headline[probe] = found["layers"][found["best"]]["test"]["top1"]
    files = sorted(path for path in folder.iterdir() if path.suffix in {".json", ".csv", ".png"})
    best = {f"{probe}_layer": str(metrics[probe]["best"]) for probe in headline}
    words = {"linear": "linear probe", "knn": "k-NN"}
    said = [
        f"{words[probe]} {100 * value:.1f} % on test ({best[f'{probe}_layer']})" for probe, value in headline.items()
    ]
    return Record(
        *identity(card),
        metrics={f"evaluate/{name}": value for name, value in numbers(metrics).items()} | headline,
        tags=tags(card) | best,
        files={"evaluate": [str(path.resolve()) for path in files]},
        note=f"{card['method']}, seed {card['seed']}: {', '.join(said)}" if said else None,
        seconds=card["seconds"],
        stage="evaluate",
        experiment=experiment,
        training=provisional(card),
    )


def source(images: Path) -> dict[str, str]:
    """Where the images come from, as a tag."""
    found = read_json(images / "card.json").get("source")
    return {"source": found} if found else {}
