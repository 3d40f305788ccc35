"""A stage in another checkout: the entries of dvc.lock travel with the tasks, the bytes through a DVC remote.

What comes in is merged into dvc.lock under DVC's own lock and fetched by `dvc pull`; what was made goes out by
`dvc push`. Only the objects of the stages concerned are moved.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo, lock_repo

from pipelines import server
from pretextbench import registry
from pretextbench.base.files import write_whole
from pretextbench.errors import UserError
from pretextbench.project import layout
from pretextbench.project.locks import Lock, locked, take

Entries = dict[str, Any]  # stage -> what dvc.lock says of it
CODE = ("stages", "pipelines", "src", "plugins")  # what a stage is made of, beside dvc.yaml
NAMED = 3  # differing files in a message


@dataclass(frozen=True)
class Parcel:
    """What a stage in another checkout is sent with."""

    remote: str  # a DVC remote, known by this name in both checkouts
    params: str  # the text of params.yaml
    code: Mapping[str, str]  # path -> SHA-256
    entries: Entries  # of the stages that are current


def pack(root: Path, remote: str, current: list[str]) -> Parcel:
    """What the stages of a run need elsewhere; `current` are those that will not run."""
    params = root / "params.yaml"
    known = entries(root)
    kept = {name: known[name] for name in current if name in known}
    return Parcel(remote, params.read_text(encoding="utf-8") if params.is_file() else "", code(root), kept)


def code(root: Path) -> dict[str, str]:
    """Path -> SHA-256 of every file that a stage may run."""
    files = [root / "dvc.yaml", *(path for folder in CODE for path in (root / folder).rglob("*") if path.is_file())]
    files = [path for path in files if path.suffix not in {".pyc", ".md"} and "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def entries(root: Path) -> Entries:
    """What dvc.lock says of each stage."""
    path = root / "dvc.lock"
    return (yaml.safe_load(path.read_text()) or {}).get("stages", {}) if path.is_file() else {}


def merge(root: Path, new: Entries) -> None:
    """Put entries of another checkout's dvc.lock into this one's, under the lock that DVC itself writes it under."""
    with Repo(str(root), _wait_for_lock=True) as repo, lock_repo(repo):
        known = entries(root)
        if any(known.get(name) != entry for name, entry in new.items()):
            content = {"schema": "2.0", "stages": known | new}
            write_whole(root / "dvc.lock", yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


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
        UserError: the code differs (some files are named), or stages with other parameters are at work there.
    """
    own = code(root)
    other = sorted(path for path in {*own, *parcel.code} if own.get(path) != parcel.code.get(path))
    if other:
        more = f" and {len(other) - NAMED} more" if len(other) > NAMED else ""
        raise UserError(
            f"The checkout {root} has other code than the one that started the run: {', '.join(other[:NAMED])}{more}. "
            "Bring both to the same commit."
        )
    path, busy = root / "params.yaml", server.folder(root) / "stages.lock"
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
    """Refuse to train with a plugin that is not the one that the inventory has found.

    Raises:
        UserError: names the method; PluginError where it is not installed.
    """
    path = root / layout.METHODS
    for name, entry in (yaml.safe_load(path.read_text()) if path.is_file() else {}).items():
        if "source_hash" in entry and registry.source_hash(registry.find(name)) != entry["source_hash"]:
            raise UserError(
                f"Method {name!r} has other code in the environment of {root} than where the run was started. Install "
                "the same version in both."
            )
