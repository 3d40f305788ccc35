"""Records of a tuning, made from its files: a run per method, and one below it for each trial. No MLflow, no torch."""

import json
from collections.abc import Iterator
from pathlib import Path

from pretextbench.track import fields, record, titles
from pretextbench.track.records import EXPERIMENT, Record, digest
from pretextbench.tune import summary
from pretextbench.tune.summary import Row, Summary


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
        key="tuning-" + digest(json.dumps(keys)),
        name=f"tuning of {name}",
        params={"trials": len(tuning.rows), **{f"chosen.{key}": value for key, value in tuning.chosen.items()}},
        metrics={titles.GAIN: tuning.gain} if tuning.gain is not None else {},
        tags={"kind": "tuning", "row": name},
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
    scores = {titles.VALIDATION: row.scores[-1]} if row.scores else {}
    return Record(
        key=key,
        name=f"{name}, trial {row.number}",
        params=dict(row.setting),
        metrics={**scores, titles.IMAGES: row.images, titles.SECONDS: row.seconds},
        tags={"kind": "trial", "row": name, "state": row.state, "chosen": str(row.chosen)},
        note=row.reason or None,
        seconds=row.seconds,
        stage="tune",
        experiment=experiment,
        points=tuple((titles.VALIDATION, place + 1, row.seconds, score) for place, score in enumerate(row.scores)),
    )


def _key(name: str, data: str, row: Row) -> str:
    """Key of a trial: it changes with its setting, its images and its scores, and not with its seconds."""
    result = [data, row.setting, row.scores, row.images, row.state]
    return f"trial-{name}-{row.number}-" + digest(json.dumps(result, sort_keys=True))


def _note(name: str, tuning: Summary) -> str:
    if not tuning.chosen:
        return f"{name} keeps its own parameters{f': {tuning.reason}' if tuning.reason else ''}"
    gained = "" if tuning.gain is None else f", {100 * tuning.gain:.1f} points better on validation than its own"
    return f"{name}: {', '.join(f'{key} {value}' for key, value in tuning.chosen.items())}{gained}"
