"""Stages in another checkout: entries of dvc.lock travel with the tasks, bytes through a DVC remote.

Incoming entries are merged into dvc.lock under DVC's own lock, and their files fetched by `dvc pull`; outputs are sent
by `dvc push`. Only the objects of the stages concerned are moved.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvc.repo import Repo, lock_repo

from pipelines import server
from pretextbench import registry
from pretextbench.base.files import write_whole
from pretextbench.errors import UserError
from pretextbench.project import layout, lockfile
from pretextbench.project.lockfile import Entries
from pretextbench.project.locks import Lock, locked, take

CODE = ("stages", "pipelines", "src", "plugins")  # folders of the code that a stage may run
NAMED = 3  # differing files in a message


@dataclass(frozen=True)
class Parcel:
    """The inputs of a stage that are sent to another checkout."""

    remote: str  # a DVC remote, known by this name in both checkouts
    params: str  # the text of params.yaml
    code: Mapping[str, str]  # path -> SHA-256
    entries: Entries  # of the stages that are current


def pack(root: Path, remote: str, current: list[str]) -> Parcel:
    """The parcel for the stages of a run; `current` are those that will not run."""
    params, entries = root / layout.PARAMS, lockfile.read(root)
    chosen = {name: entries[name] for name in current if name in entries}
    return Parcel(remote, params.read_text(encoding="utf-8") if params.is_file() else "", code(root), chosen)


def code(root: Path) -> dict[str, str]:
    """Path -> SHA-256 of every file that a stage may run."""
    files = [root / "dvc.yaml", *(path for folder in CODE for path in (root / folder).rglob("*") if path.is_file())]
    files = [path for path in files if path.suffix not in {".pyc", ".md"} and "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def merge(root: Path, new: Entries) -> None:
    """Put entries of another checkout's dvc.lock into this one's, under the lock that DVC itself writes it under."""
    with Repo(str(root), _wait_for_lock=True) as repo, lock_repo(repo):
        entries = lockfile.read(root)
        if any(entries.get(name) != entry for name, entry in new.items()):
            lockfile.write(root, entries | new)


def check_remote(name: str, workers: bool) -> None:
    """Refuse a remote that DVC does not know in the working folder; without `workers` it must be the default one.

    Raises:
        UserError: names those it knows.
    """
    with Repo() as repo:
        known, default = sorted(repo.config["remote"]), repo.config["core"].get("remote")
    if name not in known:
        raise UserError(
            f"There is no DVC remote {name!r} here. Found: {', '.join(known) or 'none'}. Add it here and in the "
            f"workers' checkouts: `dvc remote add {name} URL`."
        )
    if not workers and name != default:  # `dvc repro --pull` asks no other
        raise UserError(
            f"Without --dask, stages are brought by DVC from its default remote, which is {default or 'none'} here. "
            f"Make it this one: `dvc remote default {name}`."
        )


def settle(root: Path, parcel: Parcel) -> Lock:
    """Make another checkout ready for a stage: the same code, and params.yaml as it was sent.

    Returns a lock, held while the stage is at work: until then params.yaml stays.

    Raises:
        UserError: the code differs (some files are named), or stages with other parameters are at work in it.
    """
    own = code(root)
    differing = sorted(path for path in {*own, *parcel.code} if own.get(path) != parcel.code.get(path))
    if differing:
        more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        files = ", ".join(differing[:NAMED])
        raise UserError(
            f"The checkout {root} has other code than the one that started the run: {files}{more}. "
            "Bring both to the same commit."
        )
    path, busy = root / layout.PARAMS, root / layout.STAGES_LOCK
    with locked(server.folder(root) / "travel.lock"):
        if parcel.params and (not path.is_file() or path.read_text(encoding="utf-8") != parcel.params):
            alone = take(busy, wait=False)
            if alone is None:
                raise UserError(
                    f"The checkout {root} is at work for a run with another params.yaml. Run one at a time."
                )
            write_whole(path, parcel.params.encode())
            alone.close()
        lock = take(busy, shared=True)
    assert lock is not None
    return lock


def check_methods(root: Path) -> None:
    """Refuse to train with a plugin whose code differs from that in the inventory.

    Raises:
        UserError: names the method; PluginError where it is not installed.
    """
    path = root / layout.METHODS
    for name, entry in (json.loads(path.read_text()) if path.is_file() else {}).items():
        if (
            "source_hash" in entry
            and registry.source_hash(registry.find(entry.get("method", name))) != entry["source_hash"]
        ):
            raise UserError(
                f"Method {name!r} has other code in the environment of {root} than where the run was started. Install "
                "the same version in both."
            )
