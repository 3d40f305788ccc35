"""params.yaml with its comments: the file that the project ships, in which chosen values and their reasons are set.

`params.yaml` next to this module is a copy of the one in the project's root, which a user may have edited; a test holds
the two equal.
"""

import io
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import CommentMark
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.tokens import CommentToken

from pretextbench.base.section import parse
from pretextbench.base.yaml_file import read_yaml
from pretextbench.params import Params

SHIPPED = Path(__file__).with_name("params.yaml")
COLUMN, WIDTH = 25, 120  # of the comments, and of the file
DIRECTIVE = "%YAML 1.1\n---\n"  # written like this, words such as "yes" get quotes: every reader agrees on them


class Representer(RoundTripRepresenter):
    """A representer that writes `null`, where ruamel.yaml leaves the value empty."""


Representer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))


@dataclass(frozen=True)
class Choice:
    """One value of params.yaml, and why it is this one for these images."""

    section: str
    key: str
    value: Any
    reason: str


def fill(text: str, choices: Iterable[Choice], head: str) -> str:
    """Put the choices into a parameter file, each reason below its line; every other line stays as it is."""
    writer, stream = YAML(), io.StringIO()
    writer.version, writer.preserve_quotes, writer.width = "1.1", True, 2**31
    writer.Representer, writer.default_flow_style = Representer, None  # a list of values on one line
    document = writer.load(text)
    for choice in choices:
        section = document[choice.section]
        section[choice.key] = choice.value
        _explain(section, choice)
    writer.dump(document, stream)
    return "".join(f"# {line}\n" for line in head.splitlines()) + stream.getvalue().removeprefix(DIRECTIVE)


def check(text: str) -> Params:
    """The parameters in the text, as `params.load` reads them.

    Raises:
        UserError: it has mistakes.
    """
    return parse(Params, read_yaml(text, "the new params.yaml"), "the new params.yaml")


def _explain(section: CommentedMap, choice: Choice) -> None:
    """Add the reason to the comment of the key, which reaches to the next key."""
    tokens = section.ca.items.get(choice.key)
    comment, _, after = tokens[2].value.partition("\n") if tokens else ("", "", "")
    reason = textwrap.wrap(choice.reason, WIDTH - COLUMN - 5, break_long_words=False, break_on_hyphens=False)
    lines = [*filter(None, [comment]), *(f"# -> {part}" for part in reason)]
    if isinstance(choice.value, dict):  # a long line already
        lines = ["", *lines]
    text = ("\n" + " " * COLUMN).join(lines) + "\n" + after
    section.ca.items[choice.key] = [None, None, CommentToken(text, CommentMark(COLUMN)), None]
