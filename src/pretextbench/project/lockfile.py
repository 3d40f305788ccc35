"""The file dvc.lock: read, checked, and completed where DVC was killed while it wrote.

DVC writes the file in place. If the process is killed meanwhile, the file is truncated; a truncated file can still be
valid YAML, and DVC then treats the missing stages as never run.
"""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import yaml

from pretextbench.base.files import write_whole
from pretextbench.errors import UserError

LOCK, KEPT = Path("dvc.lock"), Path(".scratch/dvc.lock")  # below the project
AGAIN = 1.0  # seconds until a second look: somebody's `dvc` may be writing at this moment
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is


def keep(root: Path) -> None:
    """Copy dvc.lock if it is whole. For every stage at its start; no reason to end one."""
    with contextlib.suppress(OSError, UserError):
        text = (root / LOCK).read_bytes()
        if whole(text):
            write_whole(root / KEPT, text)


def complete(root: Path, again: float = AGAIN) -> list[str]:
    """Put back the stages that a cut has taken from dvc.lock, as they were in the copy; returns their names.

    For the inventory, which runs before every other stage: nobody else of the same run writes at that moment.
    """
    with contextlib.suppress(OSError, UserError):
        if whole((root / LOCK).read_bytes()):
            return []
        time.sleep(again)
        text = (root / LOCK).read_bytes()
        left, before = stages(text), stages((root / KEPT).read_bytes())
        if whole(text) or not left or not before:
            return []
        sound = dict(list(left.items())[:-1])  # the last one is where the cut is
        content = {"schema": "2.0", "stages": {**before, **sound}}
        write_whole(root / LOCK, yaml.safe_dump(content, sort_keys=False).encode())
        return [name for name in before if name not in sound]
    return []


def whole(text: bytes) -> bool:
    """Whether DVC has written it to its end."""
    return text.endswith(b"\n") and bool(stages(text))


def stages(text: bytes) -> dict[str, Any]:
    """Name -> entry, in their order; nothing where it cannot be read."""
    try:
        content = yaml.load(text, LOADER)
    except yaml.YAMLError:
        return {}
    found = content.get("stages") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def committed(output: Path, content: Path, lock: Path = LOCK) -> bool:
    """Whether `lock` says that `output` holds just the files that lie in the folder `content`."""
    try:
        stages = yaml.safe_load(lock.read_bytes())["stages"].values()
        found = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):  # none, or one that a kill has torn
        return False
    return found.get(output.as_posix()) == _folder_md5(content)


def _folder_md5(folder: Path) -> str:
    """DVC's name for a folder of files: the MD5 of the JSON of their names and MD5 sums."""
    names = sorted(path.name for path in folder.iterdir())
    sums = [hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in names]
    entries = [{"md5": md5, "relpath": name} for md5, name in zip(sums, names, strict=True)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
