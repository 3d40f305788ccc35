"""Annotations of objects as labels of images: COCO, Pascal VOC and YOLO say which kinds of object an image has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pretextbench.base.yaml_file import read_yaml
from pretextbench.data.class_folders import some
from pretextbench.data.file_match import find
from pretextbench.data.image_labels import UNKNOWN, ImageLabels, Rows
from pretextbench.data.label_values import marked
from pretextbench.data.source import NAME_FILES, is_system
from pretextbench.errors import UserError, nearest
from pretextbench.params import Prepare

LISTS = frozenset((*NAME_FILES, "train.txt", "val.txt", "test.txt", "readme.txt"))
MOST_BYTES = 64 * 2**20  # of an annotation of one image


@dataclass(frozen=True)
class Objects:
    """The objects in the images of a set: `file_of` and `kind_of` have one entry per object."""

    format: str  # for people
    files: list[str]  # all that are annotated, also those without an object
    kinds: list[str]
    file_of: Rows
    kind_of: Rows
    notes: list[str] = field(default_factory=list)


def are_annotations(place: Path) -> bool:
    """Whether a file or folder holds annotations of objects."""
    return place.suffix.lower() == ".json" or bool(_below(place, ".xml") or _below(place, ".txt"))


def read(place: Path, root: Path, names: Sequence[str], params: Prepare) -> ImageLabels:
    """The kinds of object in each image, or with the task `number` how many there are.

    Raises:
        UserError: the annotations are damaged, name other images, or do not go together with the task.
    """
    objects = _objects(place)
    images, lost, how = find(place, root, objects.files, names)
    chosen = _chosen(place, objects, params.columns)
    used = np.isin(objects.kind_of, chosen) & (images[objects.file_of] >= 0)
    number = {kind: i for i, kind in enumerate(chosen)}
    kinds = np.array([number[kind] for kind in objects.kind_of[used].tolist()], np.int64)
    listed, of = images[images >= 0], images[objects.file_of[used]]
    task = "multi-label" if params.task == "auto" else params.task
    shown = [objects.kinds[kind] for kind in chosen]
    reason = {"auto": f"{objects.format} says which kinds of object an image has"}.get(
        params.task, "as it was asked for"
    )
    notes = [f"The task is {task}: {reason}.", *filter(None, [how]), *objects.notes]
    unmatched = [(file, "no image") for file in lost]
    if task == "multi-label":
        return ImageLabels(task, shown, marked(len(names), len(shown), listed, of, kinds), notes, unmatched=unmatched)
    if task == "number":
        counts = np.full(len(names), np.nan)
        counts[listed] = 0
        np.add.at(counts, of, 1)
        title = "objects" if not params.columns else " + ".join(shown)
        return ImageLabels(task, [title], _varied(place, counts), notes, unmatched=unmatched)
    if task == "class":
        return ImageLabels(task, shown, _one_kind(place, names, shown, of, kinds), notes, unmatched=unmatched)
    raise UserError(f"prepare.task: {place} holds boxes, not masks. Allowed: multi-label, number, class.")


def _chosen(place: Path, objects: Objects, columns: Sequence[str]) -> list[int]:
    """The kinds that are labels: all, or those that were asked for."""
    for name in columns:
        if name not in objects.kinds:
            raise UserError(
                f"prepare.columns: {place} has no objects of kind {name!r}.{nearest(name, objects.kinds)} Found: "
                f"{some(objects.kinds, 12)}."
            )
    chosen = [objects.kinds.index(name) for name in columns] or list(range(len(objects.kinds)))
    if not chosen:
        raise UserError(f"{place} has no object in any image: there is nothing to learn.")
    return chosen


def _varied(place: Path, counts: Any) -> Any:
    if np.nanmin(counts) == np.nanmax(counts):
        raise UserError(f"{place}: every image has {np.nanmin(counts):g} objects: there is nothing to predict.")
    return counts


def _one_kind(place: Path, names: Sequence[str], kinds: Sequence[str], of: Rows, kind: Rows) -> Rows:
    """The class of each image, which is its only kind of object; -1 where it has none."""
    present = marked(len(names), len(kinds), of[:0], of, kind) == 1
    several = np.flatnonzero(present.sum(1) > 1)
    if len(several):
        raise UserError(
            f"{place}: {len(several):,} images have objects of several kinds, such as {names[several[0]]}: with `task: "
            "class` each has one. Choose `multi-label`, or name the kinds in prepare.columns."
        )
    return np.where(present.any(1), present.argmax(1), UNKNOWN)


def _below(place: Path, suffix: str) -> list[Path]:
    """Files of a folder with a suffix, hidden ones and lists of names aside."""
    if not place.is_dir():
        return []
    files = sorted(place.rglob(f"*{suffix}"))
    return [file for file in files if file.name.lower() not in LISTS and not is_system(file.name)]


def _objects(place: Path) -> Objects:
    if place.is_file():
        return _coco(place)
    if xml := _below(place, ".xml"):
        return _voc(place, xml)
    return _yolo(place, _below(place, ".txt"))


def _collected(format: str, pairs: Sequence[tuple[str, Sequence[str]]], order: Sequence[str] = ()) -> Objects:
    """Objects from files and the kinds in each; kinds in the `order` of the format, else of the alphabet."""
    kinds = list(order) or sorted({kind for _, objects in pairs for kind in objects})
    index = {kind: k for k, kind in enumerate(kinds)}
    file_of = np.repeat(np.arange(len(pairs)), [len(objects) for _, objects in pairs])
    kind_of = np.array([index[kind] for _, objects in pairs for kind in objects], np.int64)
    return Objects(format, [file for file, _ in pairs], kinds, file_of, kind_of)


def _voc(place: Path, files: Sequence[Path]) -> Objects:
    """Pascal VOC: an XML file per image, of the same name."""
    pairs = []
    for file in files:
        try:
            content = _content(file)
            if b"<!ENTITY" in content:  # which may multiply a text without bounds
                raise UserError(f"{file} defines entities, which no annotation needs. Remove them.")
            objects = [(node.findtext("name") or "").strip() for node in ElementTree.fromstring(content).iter("object")]
        except ElementTree.ParseError as error:
            raise UserError(f"{file} is damaged: {error}. Repair or remove it.") from None
        if "" in objects:
            raise UserError(f"{file}: an object has no <name>. Repair or remove it.")
        pairs.append((file.relative_to(place).with_suffix("").as_posix(), objects))
    return _collected("Pascal VOC", pairs)


def _yolo(place: Path, files: Sequence[Path]) -> Objects:
    """YOLO: a text file per image, of the same name, whose lines begin with the number of a kind."""
    names = _names(place)
    pairs = []
    for file in files:
        objects = []
        for line in _content(file).decode("utf-8", "replace").splitlines():
            number, *box = line.split() or [""]
            if number and (not number.isdigit() or len(box) < 4):
                raise UserError(f"{file} is no YOLO annotation: a line is {line[:60]!r}, not a kind and four numbers.")
            if number and names and int(number) >= len(names):
                raise UserError(f"{file} names the kind {number}, and there are {len(names)} names: {some(names)}.")
            objects += [names[int(number)] if names else number] if number else []
        pairs.append((file.relative_to(place).with_suffix("").as_posix(), objects))
    made = _collected("YOLO", pairs, names)
    missing = "" if names else "No classes.txt or data.yaml is beside them: kinds are named by their numbers."
    empty = "Images without a text file count as unlabelled; an empty one says that nothing is in the image."
    made.notes.extend(filter(None, [missing, empty]))
    return made


def _names(place: Path) -> list[str]:
    """The names of YOLO's kinds, from classes.txt or data.yaml in the folder or up to two above it; may be none."""
    for folder in (place, *list(place.absolute().parents)[:2]):
        for file in (folder / name for name in NAME_FILES if not name.endswith(".json")):
            if file.is_file() and file.suffix != ".yaml":
                return [line.strip() for line in _content(file).decode("utf-8", "replace").splitlines() if line.strip()]
            if file.is_file():
                names: Any = (read_yaml(_content(file).decode("utf-8", "replace"), str(file)) or {}).get("names", [])
                return [str(name) for name in (names.values() if isinstance(names, dict) else names)]
    return []


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UserError(f"{file} is larger than {MOST_BYTES >> 20} MiB: it is no annotation of one image.")
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}.") from None


def _coco(file: Path) -> Objects:
    """COCO: one JSON file for all images."""
    try:
        content = json.loads(file.read_bytes())
        images = {image["id"]: str(image["file_name"]) for image in content["images"]}
        kinds = {kind["id"]: str(kind["name"]) for kind in content["categories"]}
        pairs = [(entry["image_id"], entry["category_id"]) for entry in content.get("annotations") or ()]
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON: {error}.") from None
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"missing: {error}" if isinstance(error, KeyError) else "found: something else"
        raise UserError(
            f"{file} is no file of COCO: it needs the lists images (id, file_name), categories (id, name) and "
            f"annotations (image_id, category_id); {missing}. Write a table with the columns file and label from it."
        ) from None
    strange = [kind for _, kind in pairs if kind not in kinds]
    if strange:
        raise UserError(
            f"{file}: {len(strange):,} annotations have a category that is not listed, such as {strange[0]}."
        )
    order = list(dict.fromkeys(kinds.values()))
    index, rows = {name: k for k, name in enumerate(order)}, {image: i for i, image in enumerate(images)}
    known = [(rows[image], index[kinds[kind]]) for image, kind in pairs if image in rows]
    lost = len(pairs) - len(known)
    notes = [f"{lost:,} annotations belong to images that the file does not list."] if lost else []
    objects = np.array(known, np.int64).reshape(-1, 2)
    return Objects("COCO", list(images.values()), order, objects[:, 0], objects[:, 1], notes)
