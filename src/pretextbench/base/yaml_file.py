"""A YAML file as plain data: version 1.2, as DVC reads it, and nothing but mappings, lists, text and numbers.

DVC takes names and seeds for its stages from the same file, with ruamel.yaml. A reader of YAML 1.1 would take `017` for
15, `12:30:45` for 45045 and `off` for false, where DVC takes 17 and two texts.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from pretextbench.base.names import printable
from pretextbench.errors import UserError

CHARACTERS = 200_000  # a file of this size takes two seconds to parse
VALUES, DEPTH = 10_000, 32  # of the tree, every alias replaced by its anchor's content
DIGITS = 30  # of a number; Python refuses to read 4,300
CORE = "tag:yaml.org,2002:"
PLAIN = {CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")  # in a path or in a name that is written anywhere


def read_text(path: Path) -> str:
    """The text of a parameter file.

    Raises:
        UserError: it is missing, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. It holds the parameters of the pipeline.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: it is not UTF-8 text: {error}") from None


def read_yaml(text: str, origin: str) -> Any:
    """The content of a YAML file; `origin` names the file in the message.

    Raises:
        UserError: it is not YAML 1.2, or holds what no parameter can be: dates, sets, other tags, keys given twice,
            an anchor within itself, text with NUL or half a surrogate pair.
    """
    if len(text) > CHARACTERS:
        raise UserError(f"{origin} has {len(text):,} characters; a file of parameters has at most {CHARACTERS:,}.")
    if directive := re.search(r"^%.*", text, re.MULTILINE):
        raise UserError(
            f"{origin} is not valid YAML: the directive {printable(directive[0])!r:.40} is not allowed; remove "
            "that line. The file is read as YAML 1.2."
        )
    reader = YAML(typ="safe", pure=True)
    try:
        node = reader.compose(text)
        if node is None:
            return None
        _examine(node)
        return reader.constructor.construct_document(node)
    except RecursionError:
        raise UserError(f"{origin} is not valid YAML: it is nested deeper than {DEPTH} levels.") from None
    except (YAMLError, ValueError, TypeError) as error:
        raise UserError(f"{origin} is not valid YAML: {_reason(error)}") from None


def _examine(root: Node) -> None:
    """Refuse what the constructor would accept, or would never end with.

    Raises:
        ValueError: names the line.
    """
    waiting, values = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        values += 1
        if depth > DEPTH or values > VALUES:
            raise ValueError(
                f"{_line(node)}: an anchor that holds itself, or more than {DEPTH} levels or {VALUES:,} values."
            )
        if node.tag not in PLAIN:
            raise ValueError(f"{_line(node)}: {_foreign(node)}")
        if isinstance(node, ScalarNode):
            _check_scalar(node)
        elif isinstance(node, MappingNode):
            _check_keys(node)
            waiting += [(child, depth + 1) for pair in node.value for child in pair]
        else:
            waiting += [(child, depth + 1) for child in node.value]


def _check_scalar(node: ScalarNode) -> None:
    if bad := IMPOSSIBLE.search(node.value):
        raise ValueError(f"{_line(node)}: the character {bad[0]!r} can be in no path and in no name.")
    if node.tag == CORE + "int" and len(node.value) > DIGITS:
        raise ValueError(f"{_line(node)}: a number of {len(node.value):,} digits.")


def _check_keys(node: MappingNode) -> None:
    keys = [key for key, _ in node.value if key.tag != CORE + "merge"]
    if compound := next((key for key in keys if not isinstance(key, ScalarNode)), None):
        raise ValueError(f"{_line(compound)}: a key must be one word, found a list or a mapping.")
    twice = [key for key, count in Counter((key.tag, key.value) for key in keys).items() if count > 1]
    if twice:
        raise ValueError(f"{_line(node)}: given twice: {', '.join(printable(name) for _, name in twice)}.")


def _foreign(node: Node) -> str:
    kind = str(node.tag).removeprefix(CORE)
    if kind == "timestamp":
        return f"{node.value} is read as a date. Put it into quotes."
    return (
        f"the tag {printable(kind)!r:.60} is not allowed. Allowed: text, numbers, true, false, null, lists, mappings."
    )


def _line(node: Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _reason(error: Exception) -> str:
    """The message in one line: ruamel.yaml's own has a picture of the place and advice for programmers."""
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return place + printable(", ".join(part for part in (error.context, error.problem) if part)) + "."
    return printable(str(error).partition("\n")[0])
