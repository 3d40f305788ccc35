"""Pretraining of one method under the budget: a folder with its encoder, history, pictures and health."""

import contextlib
import hashlib
import logging
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from pretextbench.base.files import whole_folder, write_whole
from pretextbench.data.prepared import UNLABELLED, Prepared
from pretextbench.errors import UserError
from pretextbench.method import Data
from pretextbench.params import Pretrain
from pretextbench.project.demands import of_devices, refuse
from pretextbench.train import encoder_folder, work
from pretextbench.train.batches import Batches
from pretextbench.train.budget import Job, training_facts
from pretextbench.train.checkpoint import Checkpoint
from pretextbench.train.encoder_folder import Card
from pretextbench.train.history import Diagnosis, as_csv, write_diagnosis
from pretextbench.train.loop import Observer, Training, run

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def bf16_pays(device: torch.device) -> bool:
    """True where the device computes in bfloat16 and does not merely emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_and_precision(params: Pretrain) -> tuple[torch.device, bool]:
    """The device that params.yaml asks for, and whether it computes in bfloat16.

    Raises:
        UserError: an accelerator or a number of devices is asked for that the machine does not have.
    """
    refuse(of_devices(params, torch.cuda.device_count()))
    device = torch.device("cuda" if params.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    return device, params.precision == "bf16" or (params.precision == "auto" and bf16_pays(device))


def start_fabric(params: Pretrain) -> "Fabric":
    """Devices, processes and precision as params.yaml asks for them.

    Raises:
        UserError: as `device_and_precision`; or more or fewer processes were started than devices and nodes ask for.
    """
    from lightning_fabric import Fabric  # here, because it imports torch's compiler for seconds

    device, bf16 = device_and_precision(params)
    torch.backends.cudnn.benchmark = True  # on a GPU: shapes are the same in every step, so the search pays once
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would announce the precision in every stage
    processes = params.devices * params.nodes
    if (started := int(os.environ.get("WORLD_SIZE", processes))) != processes:
        raise UserError(
            f"{started} processes were started, but pretrain.devices x nodes is {params.devices} x {params.nodes}. "
            "Give every machine the same params.yaml."
        )
    fabric = Fabric(
        accelerator=device.type,
        devices=params.devices,
        num_nodes=params.nodes,
        # "unused": a player moves its own parameters only
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
    )
    fabric.launch()
    return fabric


def facts(data: Prepared, job: Job) -> Data:
    """Facts of the data set that a method may know; the number of classes is for controls that use labels only.

    Raises:
        UserError: a control that uses labels has training labels of fewer than two classes, or a method needs colour
            and there is none.
    """
    if job.method.requires.colour:
        job.method.requires.check(job.plugin.name, data.image_size, colour=data.colour)
    classes = len(data.classes) if job.method.uses_labels else 0
    learned = len({int(label) for label in data.labels("train")} - {UNLABELLED}) if classes else 0
    if job.method.uses_labels and learned < 2:
        raise UserError(
            f"The control {job.plugin.name!r} needs labels of at least two classes, found {learned} in the training "
            "images. Take it out of compare.controls in params.yaml, or lay the images out in one folder per class."
        )
    images, statistics = len(data.images("train")), (tuple(data.mean), tuple(data.std))
    return Data(data.image_size, *statistics, images, job.derived, classes, **training_facts(job, images))


def pretrain(
    job: Job,
    data: Prepared,
    folder: Path,
    scratch: Path,
    show: bool = True,
    observer: Observer | None = None,
    tell: Callable[[str], object] = str,
) -> Card:
    """Train `job` on the training split and write encoder, card, history, pictures and health into `folder`.

    After a kill at any moment, the next call with the same job, data and `scratch` continues from the last checkpoint.
    The outputs of a finished training stay in `scratch` and are copied instead of trained again, until
    `checkpoint.forget` removes them.
    `observer` is called on rank 0 and changes nothing; `tell` takes the report of the start weights.

    Raises:
        UserError: the budget does not fit the data, one image is too few for a batch norm, the loss is no longer
            finite, or the output cannot be written.
    """
    fabric = start_fabric(job.pretrain)
    labels = np.array(data.labels("train")) if job.method.uses_labels else None
    digests = [] if labels is None else [hashlib.sha256(labels.tobytes()).hexdigest()]
    checkpoint = Checkpoint(scratch / f"{job.row or job.plugin.name}-{job.seed}" / job.key(data.fingerprint, *digests))
    if not fabric.broadcast(checkpoint.finished.is_dir()):
        training = work.counted(job, lambda whole: Training(whole, facts(data, whole), fabric, labels, checkpoint.key))
        if fabric.is_global_zero:
            if training.start:
                tell(str(training.start))
            checkpoint.remove_stale()
        stream = Batches(data.images("train"), fabric.device, job.pretrain.resident)
        with failures_reported(observer if fabric.is_global_zero else None) as reporter:
            run(training, stream, checkpoint, show and fabric.is_global_zero, reporter)
        if fabric.is_global_zero:
            reporter.end(training, save_finished(training, data, checkpoint))
    if fabric.is_global_zero:
        with whole_folder(folder) as out:
            for file in checkpoint.finished.iterdir():
                shutil.copy(file, out)
    fabric.barrier()
    card = encoder_folder.read_card(folder) if fabric.is_global_zero else None  # other machines may not see it
    return cast(Card, fabric.broadcast(card))


@contextlib.contextmanager
def failures_reported(observer: Observer | None) -> Iterator[Observer]:
    """Yield the observer, or one that does nothing; report to it a `UserError` that ends the training."""
    observer = observer or Observer()
    try:
        yield observer
    except UserError as error:
        observer.fail(str(error))
        raise


def save_finished(training: Training, data: Prepared, checkpoint: Checkpoint) -> Diagnosis:
    """Write the outputs of a finished training next to its checkpoint, then remove the checkpoint."""
    with whole_folder(checkpoint.finished) as out:
        encoder_folder.save(training.method.encoder, describe(training, data), out)
        for snapshot in checkpoint.snapshots():
            write_whole(out / snapshot.name, snapshot.read_bytes())
        write_whole(out / "history.csv", as_csv(training.history).encode())
        diagnosis = write_diagnosis(training, data, out)
    checkpoint.remove()
    return diagnosis


def describe(training: Training, data: Prepared) -> Card:
    """The card of a finished run."""
    job, device, start = training.job, training.fabric.device, training.start
    images = training.steps * training.budget.batch
    return Card(
        method=job.plugin.name,
        row=job.row,
        seed=job.seed,
        control=job.method.uses_labels or not training.players,
        distribution=job.plugin.distribution,
        version=job.plugin.version,
        source_hash=job.source_hash,
        params=job.params.model_dump(mode="json"),
        encoder=job.encoder,
        image_size=data.image_size,
        mean=job.encoder.mean or (start.mean if start else data.mean),
        std=job.encoder.std or (start.std if start else data.std),
        parameters=sum(p.numel() for p in training.method.encoder.parameters()),
        views=training.work.views,
        multiply_adds=training.work.encoder,
        training_multiply_adds=training.work.training,
        images_seen=images,
        budget_multiply_adds=job.pretrain.multiply_adds,
        steps=training.steps,
        batch_size=training.budget.batch,
        seconds=round(training.seconds, 3),
        images_per_second=round(images / training.seconds, 1) if training.seconds else 0.0,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
        peak_device_memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        precision="bf16" if "bf16" in training.fabric._precision.precision else "fp32",
        data_sha256=data.fingerprint,
        grey_range=data.grey_range,
        snapshots=tuple(training.snapshots),
        training=training.key,
        start_sha256=start.sha256 if start else "",
        monitored=training.monitored,
        versions={name: version(name) for name in ("torch", "kornia", "lightning-fabric", "pretextbench")},
    )
