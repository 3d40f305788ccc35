"""Names from the disk as text for people: one line, without control characters."""

import re
from typing import Literal

# Values of `prepare.layout`, the meaning of folders. Here, because the command line needs them and imports no YAML.
Layout = Literal["auto", "classes", "splits", "last", "none"]

# Control characters, line breaks, marks that turn the direction of text, and bytes that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: str) -> str:
    """A name from the disk as one line of text; unprintable characters are escaped as in Python, \\n or \\xff."""
    return UNPRINTABLE.sub(lambda match: _escaped(match[0]), name)


def _escaped(character: str) -> str:
    code = ord(character)
    byte = chr(code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else character  # how Python carries a byte of a file name
    return byte.encode("unicode_escape").decode()
