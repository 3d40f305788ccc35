"""Names from the disk as text for people: one line, and nothing that commands a terminal."""

import re

UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(name: str) -> str:
    """A name from the disk as one line of text: what cannot stand in one is written as in Python, \\n or \\xff."""
    return UNSHOWN.sub(lambda found: _escaped(found[0]), name)


def _escaped(character: str) -> str:
    code = ord(character)
    byte = chr(code - 0xDC00) if 0xDC80 <= code <= 0xDCFF else character  # how Python carries a byte of a file name
    return byte.encode("unicode_escape").decode()
