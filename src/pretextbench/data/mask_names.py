"""Names of the values in masks, from a file beside them: classes.txt, names.json, or labelmap.txt with colours."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pretextbench.data.source import NAME_FILES
from pretextbench.errors import UserError

COLOUR = 1 << 24  # above the numbers of pixels
LINE = re.compile(r"(?P<name>[^:#]+):\s*(?P<r>\d+)\s*,\s*(?P<g>\d+)\s*,\s*(?P<b>\d+)")  # of CVAT


def colour(r: Any, g: Any, b: Any) -> Any:
    """Colours as numbers; the parts may be arrays of whole numbers."""
    return COLOUR + (r << 16) + (g << 8) + b


def shown(value: int) -> str:
    """A value for people: a number, or #rrggbb."""
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


def read(masks: Path) -> tuple[dict[int, str], str]:
    """Value -> name, and the file that says so; empty where none lies in the folder of the masks or beside it.

    Raises:
        UserError: the file cannot be read as names.
    """
    folder = masks if masks.is_dir() else masks.parent
    for file in (
        place / name for place in (folder, folder.parent) for name in NAME_FILES if not name.endswith(".yaml")
    ):
        if file.is_file():
            names = _names(file)
            return names, file.name
    return {}, ""


def _names(file: Path) -> dict[int, str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        names: Any = json.loads(text) if file.suffix == ".json" else _lines(text)
        if isinstance(names, list):
            names = dict(enumerate(names))
        return {_value(key): str(name) for key, name in names.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} holds no names of the values in masks: {error}. Write a name per line, the first of value 0, or "
            '{"0": "background", "1": "cell"} as JSON.'
        ) from None


def _value(key: str | int) -> int:
    text = str(key).strip()
    return COLOUR + int(text[1:], 16) if text.startswith("#") else int(text)


def _lines(text: str) -> list[str] | dict[int, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    colours = [match for line in lines if (match := LINE.match(line))]
    if not colours:
        return lines
    result = {}
    for match in colours:
        r, g, b = (int(match[part]) for part in "rgb")
        result[int(r) if r == g == b else int(colour(np.int64(r), g, b))] = match["name"].strip()
    return result
