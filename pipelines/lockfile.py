"""The file `dvc.lock`, which DVC writes in place: copied while it is whole, completed when a kill has cut it off.

Cut off where YAML can still read it, DVC goes on with what is left and takes the stages after the cut for never run.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import yaml

from pretextbench.errors import UserError
from pretextbench.files import write_whole

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
