"""One epoch of CIFAR-10, next to published numbers: `uv run python -m benchmarks.one_epoch FOLDER METHOD ...`.

The authors of EMP-SSL (Tong 2023, arXiv:2304.03977; the README of their code, commit 8fc3758) publish the accuracy of a
linear probe after one epoch on a ResNet-18: VICReg 40.6, SimCLR 28.2, BYOL 24.9, SwAV 24.5 %. Here that encoder sees
each of 49,500 training images once, with the defaults of this project; 500 images choose the penalty of the probe.
FOLDER has train/ and test/, one folder per class. `untrained` is the encoder before training. A training takes half an
hour of a processor with bf16, on one thread, and is a row of results/one_epoch.csv. What has a row is not run again.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import csv_rows
from benchmarks.harness import RESULTS
from pretextbench import registry
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder, build
from pretextbench.evaluate import linear
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.params import EncoderParams, Evaluate, Prepare, Pretrain
from pretextbench.train import encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

TABLE = RESULTS / "one_epoch.csv"
COLUMNS = ("method", "batch", "seed", "linear", "knn", "images", "seconds", "precision")
ENCODER = EncoderParams(name="resnet18", width=64)
UNTRAINED = "untrained"
CPU = torch.device("cpu")


def measure(method: str, batch: int, seed: int, data: Prepared) -> dict[str, Any]:
    """One epoch of a method; accuracies in percent on test, of the last stage."""
    if method == UNTRAINED:
        torch.manual_seed(seed)
        cost = {"images": 0, "seconds": 0, "precision": "bf16"}
        return {**accuracies(build(ENCODER, data.image_size, data.mean, data.std), data), **cost}
    cls = registry.load(method)
    params, budget = cls.Params(), Pretrain(images=None, epochs=1, batch_size=batch, log_every=50)
    recipe = cls.recipe(params, data.image_size)
    job = Job(registry.find(method), "", cls, params, ENCODER, budget, recipe, {}, seed)
    with tempfile.TemporaryDirectory() as folder:
        card = pretrain(job, data, Path(folder) / "encoder", Path(folder) / "scratch", show=False)
        network, _ = encoder_folder.load(Path(folder) / "encoder")
    cost = {"images": card.images_seen, "seconds": card.seconds, "precision": card.precision}
    return {**accuracies(network, data), **cost}


def accuracies(network: Encoder, data: Prepared) -> dict[str, float]:
    """The linear probe, whose penalty the validation images choose, and k-NN (k = 20)."""
    features, labels = {}, {}
    for split in ("train", "val", "test"):
        with torch.autocast("cpu", torch.bfloat16):
            features[split] = list(extract(network, data.images(split), CPU).values())[-1].float()
        labels[split] = torch.from_numpy(np.array(data.labels(split)))
    params, classes = Evaluate(), len(data.classes)
    models = linear.path(features["train"], labels["train"], classes, params.linear_l2, params.linear_steps, CPU)
    shares = {split: [_share(m.probabilities(features[split]).argmax(1), labels[split]) for m in models]
              for split in ("val", "test")}  # fmt: skip
    best = shares["val"].index(max(shares["val"]))
    bank = features["train"], labels["train"], features["test"], classes
    votes = knn(*bank, params.knn_k, params.knn_temperature, CPU)
    return {"linear": shares["test"][best], "knn": _share(votes.predictions, labels["test"])}


def _share(predicted: torch.Tensor, truth: torch.Tensor) -> float:
    return round(100 * float((predicted == truth).double().mean()), 2)


def main() -> None:
    """Train the methods named, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_epoch", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="+", metavar="METHOD", choices=[*registry.available(), UNTRAINED])
    parser.add_argument("--batch", type=int, default=Pretrain().batch_size)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "images", Path(folder) / "labels"
        source = {"source": "folder", "path": str(words.folder), "image_size": 32, "val_fraction": 0.01}
        prepare(Prepare.model_validate(source), *place)
        data = Prepared(*place)
        for method in words.methods:
            key = {"method": method, "batch": words.batch, "seed": words.seed}
            if not csv_rows.find(TABLE, key):
                csv_rows.append(TABLE, COLUMNS, {**key, **measure(method, words.batch, words.seed, data)})
            print(*csv_rows.find(TABLE, key), flush=True)


if __name__ == "__main__":
    os.nice(19)
    main()
