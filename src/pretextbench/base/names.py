"""Names from the disk, and messages that hold some, as text for people: without control characters."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

# Values of `prepare.layout` and `prepare.task`. Here, because the command line needs them and imports no YAML.
Layout = Literal["auto", "classes", "splits", "last", "none"]
Task = Literal["auto", "class", "multi-label", "number", "mask"]

# Control characters, line breaks, marks that turn the direction of text, and bytes that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

NUMBER = re.compile(r"-?\d[\d.,]*(e[+-]?\d+)?|\bnan\b|-?\binf\b")
NAMED = 3  # files of one kind that a message names


def printable(name: str) -> str:
    """A name from the disk as one line of text; unprintable characters are escaped as in Python, \\n or \\xff."""
    return UNPRINTABLE.sub(lambda match: _escaped(match[0]), name)


def plain(value: object) -> str:
    """Any value as text that cannot command a terminal; lines are kept."""
    return "\n".join(map(printable, str(value).split("\n")))


def by_reason(refused: Sequence[tuple[str, str]], most: int) -> Iterator[str]:
    """Refused files (name, reason) as at most `most` lines: `a.png: reason`, or `3 files (a.png, ...): reason`.

    Reasons that differ in their numbers alone are one; the first of them is shown.
    """
    files: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, reason in refused:
        files[NUMBER.sub("0", reason)].append((printable(name), plain(reason)))
    for alike in list(files.values())[:most]:
        names, reason = [name for name, _ in alike], alike[0][1]
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        yield f"{shown}: {reason}" if len(names) == 1 else f"{len(names):,} files ({shown}): {reason}"


def _escaped(character: str) -> str:
    code = ord(character)
    byte = chr(code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else character  # how Python carries a byte of a file name
    return byte.encode("unicode_escape").decode()
