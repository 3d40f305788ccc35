"""Diagnosis of a method on validation images: its pictures, its health measures and their symptoms."""

import json
from pathlib import Path
from typing import NamedTuple

import torch

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.files import write_whole
from pretextbench.base.picture import Picture, draw
from pretextbench.data.prepared import Prepared
from pretextbench.method import Batch
from pretextbench.train.loop import Training

PICTURE_IMAGES, HEALTH_IMAGES = 8, 256  # validation images in the pictures and in the health measures


class Diagnosis(NamedTuple):
    """Pictures, health measures and symptoms of a method on validation images."""

    pictures: list[Picture]
    health: dict[str, float]
    symptoms: list[str]


def write_diagnosis(training: Training, data: Prepared, out: Path) -> Diagnosis:
    """Write pictures (samples.png) and health (health.json) on validation images."""
    diagnosis = diagnose(training, data, HEALTH_IMAGES, PICTURE_IMAGES)
    draw(diagnosis.pictures, out / "samples.png")
    content = {"measures": diagnosis.health, "symptoms": diagnosis.symptoms}
    write_whole(out / "health.json", (json.dumps(content, indent=2) + "\n").encode())
    return diagnosis


@torch.no_grad()
def diagnose(training: Training, data: Prepared, health_images: int, picture_images: int) -> Diagnosis:
    """Apply a method to its first validation images, always with the same draws, without changing the training.

    Args:
        health_images: images in the health measures, at most.
        picture_images: images in the pictures, at most.
    """
    device, method = training.fabric.device, training.method
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed.key("examine"))
        pixels = torch.from_numpy(data.images("val")[:health_images].copy()).to(device)
        method.eval()
        try:
            views = Augmenter(training.job.recipe, data.image_size)(as_float(pixels))
            batch = Batch(views, torch.arange(len(pixels)), progress=1.0)
            few = Batch(tuple(view[:picture_images] for view in views), batch.index[:picture_images], progress=1.0)
            pictures = method.show(few)
            health = {name: float(value) for name, value in method.health(batch).items()}
        finally:
            training.module.train()
    return Diagnosis(pictures, health, method.symptoms(health))
