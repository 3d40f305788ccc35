"""params.yaml with its comments: the file that the project ships, in which chosen values and their reasons are set.

`params.yaml` beside this module is a copy of the one in the project's root, which a user may have edited; a test holds
the two equal.
"""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pretextbench.base.section import parse
from pretextbench.params import Loader, Params

SHIPPED = Path(__file__).with_name("params.yaml")
PLAIN = re.compile(r"[a-z][a-z0-9-]*|/[\w./-]*", re.ASCII)  # what needs no quotes
COLUMN, WIDTH = 25, 120  # of the comments, and of the file


@dataclass(frozen=True)
class Choice:
    """One value of params.yaml, and why it is this one for these images."""

    section: str
    key: str
    value: Any
    reason: str


def fill(text: str, choices: Iterable[Choice], head: str) -> str:
    """Put the choices into a parameter file, each reason below its line; every other line stays as it is."""
    lines = text.splitlines()
    for choice in choices:
        at = _line(lines, choice)
        comment = re.search(r"\s#.*$", lines[at])
        value = f"  {choice.key}: {as_yaml(choice.value)}"
        kept = comment[0].strip() if comment else ""
        reasons = [f"# -> {part}" for part in _wrapped(choice.reason)]
        first, *more = [kept, *reasons] if kept else reasons
        lines[at] = f"{value:<{COLUMN - 1}} {first}"
        lines[at + 1 : at + 1] = [f"{'':<{COLUMN}}{part}" for part in more]
    return "\n".join([*(f"# {line}" for line in head.splitlines()), *lines]) + "\n"


def check(text: str) -> Params:
    """What `params.load` makes of the text.

    Raises:
        UserError: it has mistakes.
    """
    return parse(Params, yaml.load(text, Loader), "the new params.yaml")


def as_yaml(value: Any) -> str:
    """A value on one line, so that reading it gives the value back whatever characters are in it."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    style = '"' if isinstance(value, str) and not PLAIN.fullmatch(value) else None
    dumped = yaml.safe_dump(value, default_style=style, width=float("inf"), allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("\n...")


def _line(lines: list[str], choice: Choice) -> int:
    """The number of the line that sets the key."""
    section = ""
    for number, line in enumerate(lines):
        if found := re.match(r"([a-z]+):", line):
            section = found[1]
        if section == choice.section and line.startswith(f"  {choice.key}: "):
            return number
    raise KeyError(f"{choice.section}.{choice.key}")  # the template and the choices are ours


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - COLUMN - 5, break_long_words=False, break_on_hyphens=False)
