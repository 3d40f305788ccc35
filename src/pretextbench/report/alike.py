"""Images in the report: one per class on the first screen, and what each row finds most like a query."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pretextbench.data.prepared import Prepared, spread
from pretextbench.ranking.protocols import pictured
from pretextbench.ranking.runs import Run
from pretextbench.report.sections import Groups

FILE = "neighbours.csv"  # of an evaluation
QUERIES, NEIGHBOURS = 4, 6  # shown of each row
SIDE, QUALITY = 96, 88  # pixels of the longer side at most, of WebP


class Shown(NamedTuple):
    """An image of the page."""

    url: str  # data URL
    label: str  # class, "" where there is none
    same: bool | None = None  # class as the query; None where one of them is not known


def strip(groups: Groups, data: Prepared | None) -> list[Shown]:
    """A labelled validation image of each of up to eight classes; without labels, the first images."""
    first = next(filter(None, (_table(pictured(group)) for group in groups.values())), None) if data else None
    if not data or not first:
        return []
    return [Shown(picture_url(data.images("val")[query]), lines[0]["query_class"]) for query, lines in first.items()]


def look_alikes(groups: Groups, data: Prepared | None) -> list[dict[str, Any]]:
    """The queries, each with what every row finds most alike among the training images, nearest first."""
    tables = _tables(groups) if data else {}
    if not data or not tables:
        return []
    queries = list(next(iter(tables.values())))
    chosen = [queries[i] for i in spread(len(queries), QUERIES)]
    return [_query(query, tables, data) for query in chosen]


def _query(query: int, tables: Mapping[str, Mapping[int, list[dict[str, str]]]], data: Prepared) -> dict[str, Any]:
    rows = {}
    for name, table in tables.items():
        lines = table.get(query, [])[:NEIGHBOURS]
        rows[name] = [
            Shown(picture_url(data.images("train")[int(line["image"])]), line["class"], _same(line)) for line in lines
        ]
    label = next(iter(tables.values()))[query][0]["query_class"]
    return {"query": Shown(picture_url(data.images("val")[query]), label), "rows": rows}


def _same(line: Mapping[str, str]) -> bool | None:
    return line["class"] == line["query_class"] if line["class"] and line["query_class"] else None


def _tables(groups: Groups) -> dict[str, dict[int, list[dict[str, str]]]]:
    """Row -> query -> its lines, nearest first; of the run whose pictures show the row."""
    read = {name: _table(pictured(group)) for name, group in groups.items()}
    return {name: table for name, table in read.items() if table}


def _table(run: Run) -> dict[int, list[dict[str, str]]]:
    path = run.folder / FILE if run.folder else None
    if path is None or not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    return {query: list(some) for query, some in groupby(lines, lambda line: int(line["query"]))}


def picture_url(image: npt.NDArray[np.uint8] | Sequence[Any]) -> str:
    """An image (H, W, 3) uint8 as a data URL, made smaller where it is large."""
    picture = Image.fromarray(np.asarray(image))
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
