"""A published figure on a GPU: SimCLR, ResNet-18, CIFAR-10, 200 epochs, to be held against lightly's 0.848 in 87 min.

lightly's recipe (benchmarks/cifar10_benchmark.py, commit 0243660) as docs/results.md writes it down, its k-NN, the
last epoch. Where nothing can be downloaded, `PRETEXTBENCH_CIFAR10` names a folder with train/ and test/, one folder per
class.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.harness import Measure, Missing, seconds
from pretextbench import registry
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.params import EncoderParams, Prepare, Pretrain
from pretextbench.train import encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

EPOCHS, VAL = 200, 0.01  # validation chooses nothing here: 49,500 images are left to train on
RECIPE = {
    "temperature": 0.5,
    "crop_min": 0.08,
    "optimizer": {"name": "sgd", "lr": 0.24, "momentum": 0.9, "weight_decay": 5e-4, "warmup": 0},
}
VOTES = {"k = 200, T = 0.1, lightly's": (200, 0.1), "k = 20, T = 0.07": (20, 0.07)}


def measure(rounds: int) -> Iterator[Measure]:
    """Minutes, images/s, GiB and k-NN accuracy of one run."""
    del rounds  # one run of many minutes
    if not torch.cuda.is_available():
        raise Missing("no GPU: 200 epochs of a ResNet-18 would take weeks here")
    with tempfile.TemporaryDirectory() as folder:
        yield from run(Path(folder), EncoderParams(name="resnet18", width=64), EPOCHS, 512)


def run(folder: Path, encoder: EncoderParams, epochs: float, batch: int) -> Iterator[Measure]:
    """Prepare, train, and classify the test images by their neighbours among the training images."""
    data, device = prepared(folder), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = [seconds(lambda: train(folder, data, encoder, epochs, batch))]
    network, card = encoder_folder.load(folder / "encoder")
    yield Measure(f"{card.images_seen:,} images, {card.device}, {card.precision}: training", card.seconds / 60, "min")
    yield Measure("the same", card.images_per_second, "images/s")
    yield Measure("memory of the device", card.peak_device_memory_bytes / 2**30, "GiB")
    accuracies: dict[str, float] = {}
    started.append(seconds(lambda: accuracies.update(classify(data, network.to(device), device))))
    for name, share in accuracies.items():
        yield Measure(f"k-NN on test, {name}", share, "accuracy", at_least=0.84 if "lightly" in name else None)
    yield Measure("training with its start, checkpoints and pictures, and k-NN", sum(started) / 60, "min", at_most=10)


def prepared(folder: Path) -> Prepared:
    """CIFAR-10 at 32 px, from the folder named in the environment or downloaded."""
    path = os.environ.get("PRETEXTBENCH_CIFAR10")
    source = {"source": "folder", "path": path} if path else {"source": "cifar10"}
    params = Prepare.model_validate({**source, "image_size": 32, "val_fraction": VAL})
    prepare(params, folder / "images", folder / "labels")
    return Prepared(folder / "images", folder / "labels")


def train(folder: Path, data: Prepared, encoder: EncoderParams, epochs: float, batch: int) -> None:
    """SimCLR as the pipeline trains it, with one seed."""
    plugin, method = registry.find("simclr"), registry.load("simclr")
    params = method.Params.model_validate(RECIPE)
    budget = Pretrain.model_validate({"images": None, "epochs": epochs, "batch_size": batch, "log_every": 100})
    job = Job(plugin, "", method, params, encoder, budget, method.recipe(params, data.image_size), {}, 0)
    pretrain(job, data, folder / "encoder", folder / "scratch", show=False)


def classify(data: Prepared, network: torch.nn.Module, device: torch.device) -> dict[str, float]:
    """Accuracy of both ways to vote, on the last stage's features."""
    bank, queries = (list(extract(network, data.images(split), device).values())[-1] for split in ("train", "test"))
    labels, truth = (torch.from_numpy(data.labels(split).copy()) for split in ("train", "test"))
    votes = {name: knn(bank, labels, queries, len(data.classes), k, t, device) for name, (k, t) in VOTES.items()}
    return {name: float((result.predictions == truth).double().mean()) for name, result in votes.items()}
