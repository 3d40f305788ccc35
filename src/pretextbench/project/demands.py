"""Demands of the parameters on the machine and on the data: what cannot work is refused before anything is trained.

The inventory checks what is known before an image is read; the end of the stage `prepare` checks the prepared data.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretextbench import registry
from pretextbench.base.section import label_budget
from pretextbench.base.source_params import MIN_IMAGES
from pretextbench.errors import UserError
from pretextbench.params import Params, Prepare, Pretrain
from pretextbench.project import layout, lockfile, search_space
from pretextbench.project.inventory import MANY, Entry, check_trainings, images_known, parts_of
from pretextbench.project.variant import row_of

if TYPE_CHECKING:
    from pretextbench.data.prepared import Prepared  # with NumPy, which the inventory seldom needs

FEW_PROCESSES = 8  # trainings of several processes on a CPU, whatever its cores: a try before a real run
UNLABELLED = -1  # in the array of labels
LEAST_VALIDATION = 2  # images that the label-free measures need


def refuse(mistakes: Iterable[str]) -> None:
    """Raise all mistakes together, if there are any.

    Raises:
        UserError: there are; a line for each, once.
    """
    lines = list(dict.fromkeys(mistakes))
    if lines:
        raise UserError("\n".join(lines))


def of_parameters(params: Params, entries: Mapping[str, Entry]) -> Iterator[str]:
    """Mistakes that show before an image is read: batches, places on the disk, room for generated images."""
    parts, known = parts_of(params.pretrain), MANY if params.prepare.max_images else images_known(params)
    for name, entry in entries.items():
        batch = batch_of(entry, params)
        yield from of_batch(name, batch, params.pretrain, None if known == MANY else known)
        if batch == parts:
            yield (
                f"A batch of {batch} in {parts} part(s) leaves one image at a time to method {name!r}: nothing to "
                f"compare it with, and no statistics for a batch norm. Use a batch of {2 * parts} or more."
            )
    yield from _few_images(params.prepare)
    start = params.encoder.weights_file
    if start and start.resolve().is_relative_to(layout.PRETRAINED.resolve()):
        yield (
            f"encoder.weights: {params.encoder.weights!r} is an output of this comparison, which it removes and makes "
            "again. Copy it to a folder outside of runs/."
        )
    if params.transfer.source == "folder" and params.transfer.path and not Path(params.transfer.path).is_dir():
        yield f"transfer.path: {params.transfer.path!r} is not a folder. Correct it, or set `source: null`."
    if params.prepare.source == "synthetic":
        wanted = sum(params.prepare.synthetic.model_dump().values()) * 3 * params.prepare.image_size**2
        free = shutil.disk_usage(Path()).free
        if wanted > free:
            yield (
                f"prepare.synthetic: the images take {wanted / 1e9:,.0f} GB, and {free / 1e9:,.0f} GB are free on the "
                "disk. Lower the numbers, or prepare.image_size."
            )


def _few_images(params: Prepare) -> Iterator[str]:
    """Numbers of images in the parameters that are too small for three splits."""
    drawn = params.synthetic
    numbers = {"prepare.max_images is": params.max_images}
    if params.source == "synthetic":
        numbers["prepare.synthetic draws, in all,"] = drawn.train + drawn.val + drawn.test
        if drawn.val < LEAST_VALIDATION:
            yield f"prepare.synthetic.val is {drawn.val}, and {LEAST_VALIDATION} or more images are needed there."
    for name, number in numbers.items():
        if number is not None and number < MIN_IMAGES:
            yield f"{name} {number} images; at least {MIN_IMAGES} are needed for train, val and test. Raise it."


def of_batch(name: str, batch: int, params: Pretrain, images: int | None = None) -> Iterator[str]:
    """The reason why a method cannot train with this batch size and number of training images (None: not known yet)."""
    parts = parts_of(params)
    if images is not None and batch > images:
        yield (
            f"A batch of {batch} images is set for method {name!r}, but the training split has "
            f"{images}. Lower pretrain.batch_size to at most {images}, or add images."
        )
    if batch % parts:
        yield (
            f"A batch of {batch} images does not divide into {parts} equal parts (pretrain.accumulate x devices x "
            f"nodes), which method {name!r} needs. Use a multiple of {parts}."
        )


def of_work(steps: Mapping[str, int], given: float) -> Iterator[str]:
    """The reason why a budget in multiply-adds is too small for a training step.

    Args:
        steps: method -> multiply-adds of the forward passes of a step, of a whole batch; 0 where nothing is trained.
        given: pretrain.multiply_adds.
    """
    if short := {name: step for name, step in steps.items() if step > given}:
        listed = ", ".join(f"{name} {step:.3g}" for name, step in short.items())
        yield (
            f"pretrain.multiply_adds is {given:g}, less than one training step takes ({listed}): give at least "
            f"{max(short.values())}, or lower the batch size."
        )


def of_devices(params: Pretrain, gpus: int) -> Iterator[str]:
    """The reason why this machine, with this number of usable GPUs, cannot train as `pretrain` asks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(FEW_PROCESSES, cores)
    if params.accelerator == "gpu" and not gpus:
        yield "pretrain.accelerator is 'gpu', but torch finds none here. Use 'auto' or 'cpu'."
    elif params.accelerator != "cpu" and gpus:
        if params.devices > gpus:
            yield f"pretrain.devices is {params.devices}, but torch finds {gpus} GPU(s) here. Use at most {gpus}."
    elif params.devices > most:
        yield (
            f"pretrain.devices is {params.devices}, and this machine has {cores} core(s) and no GPU for them. Use at "
            f"most {most}."
        )


def of_data(params: Params, entries: Mapping[str, Entry], data: "Prepared") -> Iterator[str]:
    """Mistakes that the prepared images show: for the end of the stage `prepare`."""
    images, validation = len(data.images("train")), len(data.images("val"))
    for name, entry in entries.items():
        yield from of_batch(name, batch_of(entry, params), params.pretrain, images)
        try:
            if entry.get("colour") and not data.colour:
                registry.load(entry.get("method", name)).requires.check(name, data.image_size, colour=False)
            if images_known(params) == MANY:  # what depends on the number of images could not be checked before
                method = registry.load(entry.get("method", name))
                own = method.Params.model_validate(entry["params"])
                check_trainings(name, method, own, params, images)
                if name in params.compare.methods:
                    yield from search_space.refusals(name, method, own, row_of(name, params).own, params, images)
        except UserError as error:
            yield str(error)
    if validation < LEAST_VALIDATION:
        yield (
            f"The validation split has {validation} image(s), and {LEAST_VALIDATION} or more are needed. Add images, "
            f"or raise prepare.val_fraction ({params.prepare.val_fraction})."
        )


def unpayable(params: Params, data: "Prepared") -> Iterator[str]:
    """Notes on label budgets that some class cannot pay: their columns of the report will be empty."""
    counts = Counter(data.labels("train").tolist())
    counts.pop(UNLABELLED, None)
    smallest = min(counts.values(), default=0)
    for text in dict.fromkeys(params.evaluate.budgets + params.evaluate.finetune):
        number, percent = label_budget(text)
        if smallest and not percent and number > smallest:
            name = data.classes[min(label for label, count in counts.items() if count == smallest)]
            yield (
                f"the label budget {text!r} needs {int(number)} labels per class, and class {name!r} has {smallest} "
                "in the training split: its results will be empty (evaluate.budgets in params.yaml)."
            )


def of_current_data(
    params: Params, entries: Mapping[str, Entry], settings: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[str]:
    """The same, for the inventory: where DVC has committed images for these settings and files, `prepare` will not run.

    Args:
        settings: content of runs/settings.json.
        source: content of runs/source.json.
    """
    from pretextbench.data.prepared import Prepared  # see above

    try:
        entry = lockfile.stages(layout.LOCKFILE.read_bytes())["prepare"]["params"]
        made = [entry[layout.SETTINGS.as_posix()]["prepare"], entry[layout.SOURCE.as_posix()]["files"]]
        data = Prepared(layout.IMAGES) if made == [settings["prepare"], source["files"]] else None
    except (OSError, KeyError, TypeError, UserError):  # not made, or not here
        return
    if data:
        yield from of_data(params, entries, data)


def batch_of(entry: Entry, params: Params) -> int:
    """Images per step of a contestant: its own number, or the common one."""
    return int(entry["params"].get("batch_size") or params.pretrain.batch_size)
