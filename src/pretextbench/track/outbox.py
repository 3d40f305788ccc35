"""Records that could not be written wait here, one file each, until the store takes them. No MLflow, no torch here.

A file is named after the time, the key and the stage, and is never changed: a later record of the same key and stage
is another file, which takes the place of the earlier. So whoever has written one deletes what it has written, and
never a later one.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from pretextbench.base.files import sha256, write_whole
from pretextbench.track.payload import Record

WEIGHTS = "encoder.safetensors"  # as pretextbench.train.encoder_folder names them, which imports torch


class Kept(NamedTuple):
    """A record as it was kept."""

    record: Record
    digests: dict[str, str]  # file -> SHA-256 at that time


def folder(root: Path) -> Path:
    """Where the records of the project at `root` wait: not an output of any stage, so DVC leaves it alone."""
    return root / ".scratch" / "records"


def waiting(root: Path) -> list[Path]:
    """The kept records, oldest first."""
    return sorted(folder(root).glob("*.json"))


def keep(what: Record, root: Path, reason: str) -> Path:
    """Keep a record, whole or not at all, in the place of an earlier one of the same key and stage.

    Raises:
        UserError: the place cannot be written.
    """
    name = f"{short(what.key)}-{re.sub(r'[^a-z]', '', what.stage) or 'record'}.json"
    path = folder(root) / f"{round(what.told * 1000):014d}-{name}"
    digests = {file: sha256(Path(file)) for files in what.files.values() for file in files if Path(file).is_file()}
    content = {"reason": reason, "record": dataclasses.asdict(what), "digests": digests}
    write_whole(path, json.dumps(content, indent=1).encode())
    for other in folder(root).glob(f"*-{name}"):
        if other.name < path.name:
            other.unlink(missing_ok=True)
    return path


def read(path: Path) -> Kept:
    """A kept record.

    Raises:
        ValueError: the file is not one, or one of another version of this library.
    """
    try:
        content = json.loads(path.read_bytes())
        return Kept(Record(**content["record"]), dict(content["digests"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a record that this version reads ({error})") from error


def present(what: Record, digests: dict[str, str] | None = None) -> tuple[Record, list[str]]:
    """The record without what is no longer as it was told, and a line about each part that is left out.

    The files of a stage are replaced when it runs again, and another training's must not be recorded under this key.
    `digests`: of the files, when they were told; without, those that are there are taken for the right ones.
    """
    wrong = {file: why for files in what.files.values() for file in files if (why := _wrong(file, digests))}
    files = {place: [file for file in files if file not in wrong] for place, files in what.files.items()}
    lines = [f"{what.name}: without {file}, which {why}" for file, why in wrong.items()]
    encoder = what.encoder
    if encoder and (why := _other(Path(encoder) / WEIGHTS, what.key)):
        lines.append(f"{what.name}: without the encoder in {encoder}, which {why}")
        encoder = None
    return dataclasses.replace(what, files=files, encoder=encoder), lines


def _wrong(file: str, digests: dict[str, str] | None) -> str | None:
    try:
        if digests is None:
            return None if Path(file).is_file() else "is not there any more"
        return None if sha256(Path(file)) == digests.get(file) else "is another file by now"
    except OSError:
        return "is not there any more"


def _other(weights: Path, key: str) -> str | None:
    try:
        return None if sha256(weights) in key else "is another one by now"
    except OSError:
        return "is not there any more"


def short(key: str) -> str:
    """A name for a key that fits in a file name and, many of them, in a tag."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
