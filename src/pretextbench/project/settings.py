"""Settings of a run, runs/settings.json: what the inventory read from params.yaml, and versions that change results.

The stages take their parameters from this file and not from params.yaml: DVC records it as what made a result, so an
edit of params.yaml while stages run waits for the next run. DVC watches sections of it:

* one per section of params.yaml, defaults filled in, without operational fields;
* `versions.STAGE`: the distributions that can change the bytes which that stage writes; the library of the encoder is
  one of them where the encoder is not this library's own.

The digest of the code that trains an encoder is here too: the key of a checkpoint contains it. This module is light,
because a stage reads the digest before it imports that code: an edit in the moments between must not go unseen.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pretextbench import registry
from pretextbench.base.training_params import BUDGETS
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Params, load, parse_text
from pretextbench.project import layout

SECTIONS = ("prepare", "augment", "encoder", "pretrain", "evaluate", "compare")  # that dvc.yaml watches
TRAINING = "training"  # `pretrain` without its budget: for trainings at the budgets of `compare`
REFERENCES = "references"  # each one is watched by itself
ARRAYS = ("kornia", "numpy", "torch")
PIXELS = ("numpy", "pandas", "pillow", "scipy")
VERSIONS = {  # stage -> distributions; tests/test_watched.py compares them with the imports
    "prepare": (*PIXELS, "torch"),
    "transfer": PIXELS,
    "audit": ("numpy", "torch"),
    "views": ARRAYS,
    "augment": ARRAYS,
    "tune": (*ARRAYS, "lightning-fabric", "scipy"),
    "pretrain": (*ARRAYS, "lightning-fabric"),
    "reference": (*ARRAYS, "lightning-fabric"),
    "evaluate": (*ARRAYS, "scipy"),
    "compare": ("numpy", "pillow", "scipy"),
}
ENCODING = ("tune", "pretrain", "evaluate")  # stages that compute with the encoder
TEXT = "params_yaml"  # no stage of dvc.yaml watches it: a comment and an operational field change no result


def settings(text: str, params: Params) -> dict[str, Any]:
    """The content of the file for a params.yaml with this text, which gives these parameters."""
    sections = {section: getattr(params, section).decisive() for section in SECTIONS}
    sections[TRAINING] = {key: value for key, value in sections["pretrain"].items() if key not in BUDGETS}
    if digest := params.encoder.start_sha256():
        sections["encoder"]["start_sha256"] = digest
    sections[REFERENCES] = {name: _reference(params.references[name]) for name in params.compare.references}
    versions = {stage: {name: public(installed(name)) for name in _names(stage, params)} for stage in VERSIONS}
    return {**sections, "versions": versions, TEXT: text}


def _reference(encoder: EncoderParams) -> dict[str, Any]:
    """What makes a reference stale: its section, the file of its weights, and the libraries that it comes from."""
    versions = {name: public(installed(name)) for name in encoder.libraries}
    return encoder.decisive() | {"start_sha256": encoder.start_sha256(), "versions": versions}


def _names(stage: str, params: Params) -> tuple[str, ...]:
    return (*VERSIONS[stage], *(params.encoder.libraries if stage in ENCODING else ()))


def read() -> dict[str, Any]:
    """The content of the file; empty where no inventory has run."""
    try:
        content: dict[str, Any] = json.loads(layout.SETTINGS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def parameters_text() -> str:
    """The text of params.yaml that the inventory read; where none has run, as it is now."""
    return str(read().get(TEXT) or layout.PARAMS.read_text(encoding="utf-8"))


def parameters() -> Params:
    """The parameters of the run that the inventory began; where none has run, those of params.yaml.

    Raises:
        UserError: params.yaml cannot be read, or has mistakes.
    """
    text = read().get(TEXT)
    return load(layout.PARAMS) if text is None else parse_text(text, str(layout.PARAMS))


def check_versions(stage: str) -> None:
    """Refuse to run a stage with other versions than the inventory wrote, which DVC would record.

    Raises:
        UserError: names each distribution that differs.
    """
    wanted = read().get("versions", {}).get(stage, {})
    differing = list(_differences(wanted))
    if differing:
        raise UserError(
            f"The inventory of this run was made with other versions: {'; '.join(differing)}. Install the same ones, "
            "or run `dvc repro` again: it repeats this stage."
        )


def _differences(wanted: dict[str, str]) -> Iterator[str]:
    for name, expected in wanted.items():
        if (present := public(installed(name))) != expected:
            yield f"{name} {expected}, found {present}"


@cache
def installed(name: str) -> str:
    """The version of a distribution, with the label of its build.

    Raises:
        UserError: it is not installed.
    """
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise UserError(
            f"{name} is not installed, and params.yaml needs it. Install it: uv sync --extra encoders."
        ) from error


def public(number: str) -> str:
    """A version without the label of its build: `2.11.0` of `2.11.0+cpu`.

    DVC does not know the device either: results of a machine with a GPU are of use on one without.
    """
    return number.partition("+")[0]


LIBRARY = Path(registry.__file__).parent
WATCHED = (  # what decides the weights: dvc.yaml watches the same for `pretrain`, and a test holds both to the imports
    "augment",
    "base/seed.py",
    "data/prepared.py",
    "data/targets.py",
    "distributed.py",
    "encoder.py",
    "encoders",
    "measures.py",
    "method.py",
    "parts",
    "recipe.py",
    "train",
)


@cache
def code_digest() -> str:
    """SHA-256 over names and contents of the files that WATCHED lists."""
    digest = hashlib.sha256()
    for path in sorted(file for name in WATCHED for file in _files(LIBRARY / name)):
        digest.update(path.relative_to(LIBRARY).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from path.rglob("*.py") if path.is_dir() else (path,)
