"""An export whole or not at all: written aside, compared with the original, and only then put in its place."""

import importlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from pretextbench import saved
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.export.check import Agreement, compare
from pretextbench.export.formats import INPUT, Format, Kind, kind
from pretextbench.files import sha256, whole_file, write_whole


class DiffersError(Exception):
    """The export does not give the features of the original: a fault of ours or of the other library."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    card: Path  # JSON beside it
    code: str  # Python that loads it and turns `images` into `features`
    agreement: Agreement


def export(folder: Path, to: str, target: Path) -> Exported:
    """Write the encoder in `folder` to `target` in format `to`, with a card beside it.

    Raises:
        UserError: no such format, a package is missing, the suffix is another's, the encoder cannot be read or is not
            one that the format can hold, or the place cannot be written.
        DiffersError: the features differ by more than `check.LIMIT`; nothing was written.
    """
    chosen = kind(to)
    _check(target, to, chosen, folder)
    encoder, card = saved.load(folder)
    form = cast(Format, importlib.import_module(f"pretextbench.export.{chosen.module}"))
    with whole_file(target) as scratch:
        form.write(encoder, card, scratch)
        agreement = compare(encoder, form.code(encoder, card, scratch), card.image_size)
        if not agreement.holds:
            raise DiffersError(f"{target} was not written: its features are not the encoder's ({agreement}).")
        code, digest = form.code(encoder, card, target), sha256(scratch)
        beside = target.with_name(target.name + ".json")
        facts = _facts(encoder, card, to, digest, agreement, code)
        write_whole(beside, (json.dumps(facts, indent=2) + "\n").encode())
    return Exported(target, beside, code, agreement)


def _check(target: Path, to: str, chosen: Kind, folder: Path) -> None:
    if target.suffix != chosen.suffix:
        raise UserError(f"-o: {target} does not end in {chosen.suffix}, as a file of {to} does.")
    if target.is_dir():
        raise UserError(f"-o: {target} is a folder. Give the name of a file.")
    if target.resolve() == (folder / saved.WEIGHTS).resolve():
        raise UserError(f"-o: {target} is the encoder itself. Give another place.")


def _facts(encoder: Encoder, card: saved.Card, to: str, digest: str, agreement: Agreement, code: str) -> dict[str, Any]:
    chosen = kind(to)
    return {
        "format": to,
        "sha256": digest,
        "method": card.method,
        "seed": card.seed,
        "distribution": card.distribution,
        "version": card.version,
        "weights_sha256": card.weights_sha256,
        "encoder": card.encoder.model_dump(),
        "image_size": card.image_size,
        "dim": encoder.dim,
        "input": INPUT,
        "mean": card.mean,
        "std": card.std,
        "normalisation": "in the file" if chosen.normalises else "before the model: see load",
        "difference": {
            "largest": agreement.largest,
            "largest_feature": agreement.scale,
            "images": agreement.images,
        },
        "load": code.splitlines(),
        "versions": {package: version(package) for package in chosen.packages},
    }
