"""Record of a folder of links that `init` has made from a table of labels: later changes of the table are noticed."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from pretextbench.base.files import sha256, write_whole
from pretextbench.errors import UserError
from pretextbench.project.source_files import walk


def record(links: Path, images: Path, table: Path, options: Mapping[str, str | None]) -> None:
    """Note what the folder `links` was made of, in a file next to it: the table, the names of the images, options of
    `init` by their name.
    """
    words = {"--images": str(images.absolute()), "--labels": str(table.absolute()), **options}
    content = {
        "images": str(images.absolute()),
        "labels": str(table.absolute()),
        "words": [word for option, value in words.items() if value for word in (option, value)],
        "images_sha256": _names(images),
        "labels_sha256": sha256(table),
    }
    write_whole(_file(links), (json.dumps(content, indent=2) + "\n").encode())


def check(links: Path) -> None:
    """Refuse links that no longer are what their table says. Without a record, or without its table, nothing is said.

    Raises:
        UserError: the table was changed, or images were added or removed, since `init` made the links.
    """
    try:
        made = json.loads(_file(links).read_text(encoding="utf-8"))
        images, table, words = Path(made["images"]), Path(made["labels"]), shlex.join(made["words"])
        changed = [
            what
            for what, before, now in (
                (f"the table {table} was changed", made["labels_sha256"], sha256(table)),
                (f"images were added to {images} or removed", made["images_sha256"], _names(images)),
            )
            if before != now
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if changed:
        raise UserError(
            f"{' and '.join(changed)} after `init` had made {links}. Run `pretextbench init {words} --force` again "
            f"(your params.yaml is kept as params.yaml.bak), or remove {_file(links)} to go on with the old labels."
        )


def _file(links: Path) -> Path:
    return links.with_name(f"{links.name}.json")


def _names(images: Path) -> str:
    names = "\0".join(file.name for file in walk(images) if file.identity)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
