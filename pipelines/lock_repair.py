"""Files that DVC writes in place, and that a kill or a power cut in that moment leaves half written.

Until they are mended DVC refuses every run. Called when this process holds the checkout (`pipelines.run.alone`).
"""

import json
import shutil
import time
from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid  # comes with DVC, which judges by it

from pretextbench.project import lockfile

CONFLICT = "<<<<<<<"  # of a merge: for people to settle
AGAIN = 1.0  # seconds until a second look: somebody's `dvc` may be writing at this moment


def mend(root: Path, again: float = AGAIN) -> list[str]:
    """Set half-written files aside and return what to tell the user about each.

    Nothing is lost: DVC's run cache knows what every stage has made of which inputs, and checks it out.
    """
    told = []
    for name, reads, what in (
        ("dvc.lock", _lock, "What was finished comes back from DVC's cache"),
        (".dvc/tmp/rwlock", _rwlock, "It only says which DVC is at work where"),
    ):
        path = root / name
        if path.is_file() and not reads(path):
            time.sleep(again)
            if not reads(path):
                path.replace(path.with_name(path.name + ".torn"))
                if name == str(lockfile.LOCK) and (root / lockfile.KEPT).is_file():
                    shutil.copy(root / lockfile.KEPT, path)
                told.append(f"{name} was half written, as a kill leaves it, and is now {name}.torn. {what}.")
    return told


def _lock(path: Path) -> bool:
    """Whether DVC can read it. Entries that are missing or changed are no damage: DVC sees those stages as stale."""
    text = path.read_text(errors="replace")
    if CONFLICT in text:
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _rwlock(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(errors="replace")), dict)
    except ValueError:
        return False
