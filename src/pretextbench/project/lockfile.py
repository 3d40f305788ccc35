"""The file dvc.lock: read, checked, and completed where DVC was killed while it wrote.

DVC writes the file in place. If the process is killed meanwhile, the file is truncated; a truncated file can still be
valid YAML, and DVC then treats the missing stages as never run.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pretextbench.base.files import write_whole
from pretextbench.errors import UserError
from pretextbench.project import layout

Entries = dict[str, Any]  # stage -> its entry: command, dependencies, parameters, outputs
SECOND_LOOK = 1.0  # seconds until a damaged file is read again: a `dvc` may be writing at this moment
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is


def parse(text: bytes | str) -> Any:
    """The content of a dvc.lock.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, LOADER)


def stages(text: bytes) -> Entries:
    """The entries of all stages, in their order; none where the text cannot be read."""
    try:
        content = parse(text)
    except yaml.YAMLError:
        return {}
    entries = content.get("stages") if isinstance(content, dict) else None
    return entries if isinstance(entries, dict) else {}


def read(root: Path) -> Entries:
    """The entries of the project at `root`; none where there is no dvc.lock.

    Raises:
        yaml.YAMLError: the file is damaged.
    """
    path = root / layout.LOCKFILE
    return (parse(path.read_bytes()) or {}).get("stages", {}) if path.is_file() else {}


def write(root: Path, entries: Mapping[str, Any]) -> None:
    """Write a whole dvc.lock. The caller holds DVC's lock, or knows that no DVC writes now."""
    content = {"schema": "2.0", "stages": dict(entries)}
    write_whole(root / layout.LOCKFILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def keep(root: Path) -> None:
    """Copy dvc.lock if it is whole. For every stage at its start; no reason to end one."""
    with contextlib.suppress(OSError, UserError):
        text = (root / layout.LOCKFILE).read_bytes()
        if is_whole(text):
            write_whole(root / layout.lockfile_copy(), text)


def put_back(root: Path) -> None:
    """Put the copy, where there is one, in the place of a dvc.lock that was moved away."""
    if (root / layout.lockfile_copy()).is_file():
        shutil.copy(root / layout.lockfile_copy(), root / layout.LOCKFILE)


def complete(root: Path, again: float = SECOND_LOOK) -> list[str]:
    """Put back the stages that a cut has taken from dvc.lock, as they were in the copy; returns their names.

    For the inventory, which runs before every other stage: no other process of the same run writes at that moment.
    """
    with contextlib.suppress(OSError, UserError):
        if is_whole((root / layout.LOCKFILE).read_bytes()):
            return []
        time.sleep(again)
        text = (root / layout.LOCKFILE).read_bytes()
        left, before = stages(text), stages((root / layout.lockfile_copy()).read_bytes())
        if is_whole(text) or not left or not before:
            return []
        sound = dict(list(left.items())[:-1])  # the last one is where the cut is
        write(root, {**before, **sound})
        return [name for name in before if name not in sound]
    return []


def is_whole(text: bytes) -> bool:
    """Whether DVC has written it to its end."""
    return text.endswith(b"\n") and bool(stages(text))


def committed(output: Path, content: Path, lock: Path = layout.LOCKFILE) -> bool:
    """Whether the entries in `lock` give `output` exactly the files that lie in the folder `content`."""
    try:
        entries = stages(lock.read_bytes()).values()
        sums = {out["path"]: out["md5"] for entry in entries for out in entry.get("outs", ())}
    except (OSError, KeyError, TypeError, AttributeError):  # no file, or one that a kill has torn
        return False
    return sums.get(output.as_posix()) == _folder_md5(content)


def _folder_md5(folder: Path) -> str:
    """DVC's name for a folder of files: the MD5 of the JSON of their names and MD5 sums."""
    names = sorted(path.name for path in folder.iterdir())
    sums = [hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in names]
    entries = [{"md5": md5, "relpath": name} for md5, name in zip(sums, names, strict=True)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
