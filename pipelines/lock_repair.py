"""Repair of files that DVC writes in place, and that a kill or a power cut in that moment leaves half written.

Until they are repaired DVC refuses every run. Called when this process holds the checkout (`graph_run.alone`).
"""

import json
import time
from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid  # comes with DVC, which judges by it

from pretextbench.project import layout, lockfile

CONFLICT = "<<<<<<<"  # of a merge: for people to settle


def mend(root: Path, again: float = lockfile.SECOND_LOOK) -> list[str]:
    """Set half-written files aside and return a message for the user about each.

    Nothing is lost: DVC's run cache knows what every stage has made of which inputs, and checks it out.
    """
    messages = []
    for name, is_readable, consequence in (
        (str(layout.LOCKFILE), _lock, "What was finished comes back from DVC's cache"),
        (".dvc/tmp/rwlock", _rwlock, "It only says which DVC is at work where"),
    ):
        path = root / name
        if path.is_file() and not is_readable(path):
            time.sleep(again)
            if not is_readable(path):
                path.replace(path.with_name(path.name + ".torn"))
                if name == str(layout.LOCKFILE):
                    lockfile.put_back(root)
                messages.append(f"{name} was half written, as a kill leaves it, and is now {name}.torn. {consequence}.")
    return messages


def _lock(path: Path) -> bool:
    """Whether DVC can read dvc.lock. Missing or changed entries are no damage: DVC sees those stages as stale."""
    text = path.read_text(errors="replace")
    if CONFLICT in text:
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(lockfile.parse(text))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _rwlock(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(errors="replace")), dict)
    except ValueError:
        return False
