"""Inputs of the stage that DVC runs: their state at its start, and the refusal to commit a result of changed ones.

DVC records the state at the end of a stage as what made its result. So the stage compares both itself, before it
writes a record and before DVC commits.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretextbench import registry
from pretextbench.errors import UserError
from pretextbench.project import layout, lockfile
from pretextbench.project.settings import code_digest

HASHED = 1_000_000  # bytes of a file; a larger one is known by its size and time of modification
State = Mapping[str, str]  # file, or section of a file -> its content in short

_at_start: State = {}


def begin() -> None:
    """Note the state of the inputs, where DVC has started this process, and of the code that names a checkpoint."""
    global _at_start
    _at_start = _current_state()
    code_digest()  # kept by its cache


def check() -> None:
    """Refuse to continue if an input has changed since the start.

    Raises:
        UserError: names the inputs.
    """
    current = _current_state()
    changed = sorted(name for name in {*_at_start, *current} if _at_start.get(name) != current.get(name))
    if _at_start and changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        verb = "were" if len(changed) > 1 else "was"
        raise UserError(
            f"{', '.join(changed[:3])}{more} {verb} changed while this stage was at work: its result "
            "belongs to neither version and is not committed. Run `dvc repro` again."
        )


def _current_state() -> State:
    """Of the stage that DVC has started, else of none."""
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    pipeline = Path("dvc.yaml")
    if not stage or not pipeline.is_file():
        return {}
    entry = lockfile.parse(pipeline.read_bytes())["stages"].get(stage, {})
    return dict(state(entry, sys.argv[1:]))


def state(entry: Mapping[str, Any], item: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each file below the dependencies of a stage in dvc.yaml, and each section of its parameters, with its content.

    Args:
        item: arguments of the stage, a method and a seed; `${item.method}` and `${item.seed}` stand for them. Where the
            command has `${item.images}` too, the method's argument is the row and its budget.
    """
    matrix = dict(zip(("method", "seed"), item, strict=False))
    if "${item.images}" in entry.get("cmd", ""):
        matrix["method"], _, matrix["images"] = item[0].rpartition("-")
    for dep in entry.get("deps", ()):
        for path in _files(Path(_filled(dep, matrix))):
            yield path.as_posix(), _content(path)
    for group in entry.get("params", ()):
        for file, keys in group.items() if isinstance(group, dict) else ():
            values = _json(Path(file))
            for key in (_filled(key, matrix) for key in keys or ()):
                yield f"{key} in {file}", json.dumps(_at(values, key.split(".")), sort_keys=True)
                if file == layout.METHODS.as_posix():
                    plugin = registry.find(values[key].get("method", key))
                    yield f"the code of the method {key}", registry.source_hash(plugin)


def _filled(text: str, item: Mapping[str, str]) -> str:
    for name, value in item.items():
        text = text.replace(f"${{item.{name}}}", value)
    return text


def _files(place: Path) -> Iterator[Path]:
    """A file, or the files below a folder; without files that DVC ignores, and without files that are being written."""
    if place.is_file():
        yield place
    for folder, below, names in os.walk(place):
        below[:] = [name for name in below if name != "__pycache__" and not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _content(path: Path) -> str:
    try:
        status = path.stat()
        if status.st_size > HASHED:
            return f"{status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # removed at this moment
        return ""


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _at(values: Any, path: Sequence[str]) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values
