"""Files of a source: their names and contents as one digest, so that a changed image makes the stage `prepare` stale.

Links are followed, as `prepare` follows them. A content is read once: its hash is kept in a file of the project, under
size, inode and times of modification and change. While these are the same the content is too. Where they differ
(`touch`, a copy of the project) it is read again, and gives the same digest.

A folder of links that `init` has made from a table of labels has a record of the table, so that a later change of it is
noticed.
"""

import contextlib
import hashlib
import json
import os
import shlex
import stat
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pretextbench.base.files import sha256, write_whole
from pretextbench.data.image_file import MOST_BYTES
from pretextbench.data.source import MAX_VISITS, NAME_FILES, STEM, SUFFIXES, is_system
from pretextbench.errors import UserError

SETTLED = 2 * 10**9  # ns: a file that changed so shortly before may change again within one tick of its clock
ANNOUNCED = 2**28, 10_000  # bytes, files: more are not read without a word
BLOCK = 2**20
GONE = os.stat_result((0,) * 10)  # the status of a broken link


class File(NamedTuple):
    """A file below a source; links are followed."""

    name: str  # relative to the source
    path: str
    size: int  # bytes
    changed: int  # ns
    identity: str  # differs once the content is another; empty where `prepare` does not read the content


def walk(folder: Path, suffixes: Collection[str] = SUFFIXES) -> Iterator[File]:
    """All files below a folder, in a fixed order, without hidden ones. A loop: folders nest deeper than Python calls.

    Those with other suffixes have no identity; without `suffixes` all have one.

    What cannot be listed, or is removed at this moment, is passed over: the prepare stage says so.
    """
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(os.fspath(folder), "", frozenset())]
    visits: Counter[tuple[int, int]] = Counter()
    while waiting:
        path, name, above = waiting.pop()
        below = []
        with contextlib.suppress(OSError):
            place = os.stat(path)
            folder_id = (place.st_dev, place.st_ino)
            visits[folder_id] += 1
            if folder_id in above or visits[folder_id] > MAX_VISITS:  # of links that lead to each other
                continue
            for entry in _entries(path):
                status = _status(entry)
                if status is None:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    below.append((entry.path, f"{name}{entry.name}/", above | {folder_id}))
                else:
                    yield _file(name + entry.name, entry.path, status, suffixes)
        waiting += reversed(below)


def _entries(path: str) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        visible = [e for e in entries if not is_system(e.name)]
    return sorted(visible, key=lambda entry: entry.name)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return GONE if entry.is_symlink() else None


def _file(name: str, path: str, status: os.stat_result, suffixes: Collection[str]) -> File:
    size, changed, identity = status.st_size, status.st_ctime_ns, ""
    read = not suffixes or os.path.splitext(name)[1].lower() in suffixes
    if read and stat.S_ISREG(status.st_mode) and size <= MOST_BYTES:
        identity = f"{size} {status.st_ino} {status.st_mtime_ns} {changed}"
    return File(name, path, size, changed, identity)


def digest(folder: Path, cache: Path, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """Number and bytes of all files below `folder`, and a hash over their names and the contents of the images.

    A missing folder counts as empty; the prepare stage reports it.

    Args:
        folder: the source.
        kept: the file that holds the hashes of contents which were read before; it is written when they change.
        tell: takes a line for people before many files are read.
    """
    return _digest(list(walk(folder)), cache, tell)


def digest_of_labels(place: str, cache: Path, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """The same for `prepare.labels`: a table, a folder, or a pattern of masks; and for files of names beside it."""
    base = Path(place.partition(STEM)[0] + "x").parent if STEM in place else Path(place)
    beside = [folder / name for folder in list(base.parents)[:2] for name in NAME_FILES]
    single = [file for file in (base, *beside) if file.is_file()]
    files = [_file(os.path.relpath(file, base), os.fspath(file), file.stat(), ()) for file in single]
    return _digest([*walk(base, ()), *files], cache, tell)


def _digest(files: list[File], cache: Path, tell: Callable[[str], object]) -> dict[str, Any]:
    contents = _contents([file for file in files if file.identity], cache, tell)
    lines = [f"{file.name}\0{contents.get(file.identity, '')}\0" for file in files]
    whole = hashlib.sha256("".join(lines).encode(errors="surrogateescape"))
    return {"files": len(files), "bytes": sum(file.size for file in files), "sha256": whole.hexdigest()}


def _contents(files: list[File], cache: Path, tell: Callable[[str], object]) -> dict[str, str]:
    """Identity -> hash of the content."""
    known, now = _known(cache), time.time_ns()
    unknown = [file for file in files if file.identity not in known]
    size = sum(file.size for file in unknown)
    if size > ANNOUNCED[0] or len(unknown) > ANNOUNCED[1]:
        tell(f"reading {len(unknown):,} images once ({size / 1e9:.1f} GB), so that later changes are noticed")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = dict(zip((file.identity for file in unknown), pool.map(_hash, unknown), strict=True))
    unsettled = {file.identity for file in unknown if file.changed > now - SETTLED}
    contents = {file.identity: read.get(file.identity) or known[file.identity] for file in files}
    settled = {identity: content for identity, content in contents.items() if identity not in unsettled}
    if settled != known:
        write_whole(cache, "".join(f"{identity} {content}\n" for identity, content in settled.items()).encode())
    return contents


def _known(cache: Path) -> dict[str, str]:
    """Identity -> hash of the content, as an earlier inventory has read it."""
    try:
        pairs = [line.rpartition(" ") for line in cache.read_text().splitlines()]
    except (OSError, ValueError):  # an aid only: without it everything is read again
        return {}
    return {identity: content for identity, _, content in pairs}


def _hash(file: File) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(file.path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except OSError as error:
        return f"unreadable:{error.errno}"
    return digest.hexdigest()


def record_links(links: Path, images: Path, table: Path, options: Mapping[str, str | None]) -> None:
    """Note what the folder `links` was made of, in a file next to it: the table, the names of the images, options of
    `init` by their name.
    """
    options_used = {"--images": str(images.absolute()), "--labels": str(table.absolute()), **options}
    content = {
        "images": str(images.absolute()),
        "labels": str(table.absolute()),
        "words": [part for option, value in options_used.items() if value for part in (option, value)],
        "images_sha256": _hash_of_names(images),
        "labels_sha256": sha256(table),
    }
    write_whole(_record_of(links), (json.dumps(content, indent=2) + "\n").encode())


def check_links(links: Path) -> None:
    """Refuse links that no longer agree with their table. Without a record, or without its table, nothing is checked.

    Raises:
        UserError: the table was changed, or images were added or removed, since `init` made the links.
    """
    try:
        made = json.loads(_record_of(links).read_text(encoding="utf-8"))
        images, table, command = Path(made["images"]), Path(made["labels"]), shlex.join(made["words"])
        changed = [
            change
            for change, before, now in (
                (f"the table {table} was changed", made["labels_sha256"], sha256(table)),
                (f"images were added to {images} or removed", made["images_sha256"], _hash_of_names(images)),
            )
            if before != now
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if changed:
        raise UserError(
            f"{' and '.join(changed)} after `init` had made {links}. Run `pretextbench init {command} --force` again "
            f"(your params.yaml is kept as params.yaml.bak), or remove {_record_of(links)} to keep the old labels."
        )


def _record_of(links: Path) -> Path:
    return links.with_name(f"{links.name}.json")


def _hash_of_names(images: Path) -> str:
    names = "\0".join(file.name for file in walk(images) if file.identity)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
