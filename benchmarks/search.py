"""Search of the methods' defaults: `uv run python -m benchmarks.search [--data FOLDER] [--again N] METHOD ...`.

Every method gets the same five trials, one change each: its defaults, half of the batch, a third and three times the
learning rate, and another value of the first parameter that its `search` names. A change that helps is kept for the
trials after it. The first batch is the one that was the default when the search began, for all methods alike. The
score is the accuracy of the linear probe on the validation images at the stage that they choose; test images are never
opened.
Each trial runs on one thread and is a row of results/search.csv. A trial that has a row is not run again.
`--again N` trains the two best trials once more, with N images seen, and the defaults of today next to them.
`--rate X` trains the defaults and X times their rate with three seeds: rows of results/rate.csv.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks import csv_rows as rows
from benchmarks.harness import RESULTS
from pretextbench import registry
from pretextbench.augment.pipeline import as_float
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import TokenEncoder
from pretextbench.errors import UserError
from pretextbench.evaluate import linear
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.params import Control, EncoderParams, Evaluate, Prepare, Pretrain
from pretextbench.train import encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

TABLE = RESULTS / "search.csv"
RATES = RESULTS / "rate.csv"
SCORES = ("linear", "stage", "knn", "knn_stage", "seconds", "precision")
COLUMNS = ("data", "images", "method", "trial", "settings", *SCORES)
Settings = dict[str, Any]
BATCH = 128  # of the first trial: the default when the search began; the search itself made it 64
RESIDUAL = EncoderParams(name="resnet10", width=16)
TOKENS = EncoderParams(name="vit-tiny", depth=2, patch=4)  # for a method that needs tokens
DEFAULTS = "1"  # the trial whose settings are the defaults of today: half of that batch


def candidates(method: str, best: Settings, trial: int) -> Settings:
    """The settings of a trial: the best so far with one change."""
    usual = registry.load(method).Params().model_dump(mode="json")
    optimizer = best.get("optimizer", usual["optimizer"])
    own, values = next(iter(registry.load(method).search.items()))
    batch = best.get("batch_size", BATCH)
    change: Settings = [
        {},
        {"batch_size": batch // 2},
        {"optimizer": {**optimizer, "lr": optimizer["lr"] / 3}},
        {"optimizer": {**optimizer, "lr": optimizer["lr"] * 3}},
        {own: next(value for value in values if value != usual[own])},
    ][trial]
    return {**best, **change}


def search(method: str, data: Prepared, name: str, images: int) -> None:
    """The five trials of one method."""
    best, score = Settings(), -1.0
    for trial in range(5):
        settings = candidates(method, best, trial)
        key = {"data": name, "images": images, "method": method, "trial": trial}
        row = next(iter(rows.find(TABLE, key)), None)
        if row is None:
            try:
                row = {**key, "settings": json.dumps(settings), **measure(method, settings, data, images)}
            except UserError as error:  # a value that does not go with these images
                print(f"{method}, trial {trial}: {error}", flush=True)
                continue
            rows.append(TABLE, COLUMNS, row)
        print(row, flush=True)
        if float(row["linear"]) > score:
            best, score = json.loads(row["settings"]), float(row["linear"])


def again(method: str, data: Prepared, name: str, images: int, more: int) -> None:
    """The two best trials of a search of `images` and the defaults, with `more` images seen."""
    trials = rows.find(TABLE, {"data": name, "images": images, "method": method})
    ranked = sorted(trials, key=lambda row: -float(row["linear"]))
    chosen = ranked[:2] + [row for row in ranked[2:] if row["trial"] == DEFAULTS]
    for row in chosen:
        key = {"data": name, "images": more, "method": method, "trial": row["trial"]}
        if not rows.find(TABLE, key):
            values = measure(method, json.loads(row["settings"]), data, more)
            rows.append(TABLE, COLUMNS, {**key, "settings": row["settings"], **values})
        print(*rows.find(TABLE, key), flush=True)


def rates(method: str, data: Prepared, name: str, images: int, factor: float) -> None:
    """The defaults and `factor` times their rate, three seeds each: rows of results/rate.csv."""
    usual = registry.load(method).Params().model_dump(mode="json")["optimizer"]
    for seed, times in itertools.product(range(3), (1.0, factor)):
        key = {"data": name, "images": images, "method": method, "rate": round(times * usual["lr"], 6), "seed": seed}
        if not rows.find(RATES, key):
            settings = {"batch_size": BATCH // 2, "optimizer": {**usual, "lr": times * usual["lr"]}}
            rows.append(RATES, (*key, *SCORES), {**key, **measure(method, settings, data, images, seed)})
        print(*rows.find(RATES, key), flush=True)


def measure(
    method: str, settings: Settings, data: Prepared, images: int, seed: int = 0, precision: str = "auto"
) -> dict[str, Any]:
    """Train once and judge by validation."""
    with tempfile.TemporaryDirectory() as folder:
        plugin, cls = registry.find(method), registry.load(method)
        params = cls.Params.model_validate(settings)
        recipe = cls.recipe(params, data.image_size)
        encoder = TOKENS if issubclass(cls.requires.encoder, TokenEncoder) else RESIDUAL
        derived = cls.derive(params, batches(data), data.image_size)
        job = Job(
            plugin,
            "",
            cls,
            params,
            encoder,
            Pretrain(images=images, batch_size=BATCH, precision=precision),
            recipe,
            derived,
            seed,
        )
        card = pretrain(job, data, Path(folder) / "encoder", Path(folder) / "scratch", show=False)
        return {
            **judge(encoder_folder.load(Path(folder) / "encoder")[0], data),
            "seconds": card.seconds,
            "precision": card.precision,
        }


def batches(data: Prepared) -> Iterator[torch.Tensor]:
    """The training images for what a method derives from them."""
    pixels = data.images("train")[:10_000]
    return (as_float(torch.from_numpy(pixels[i : i + 256].copy())) for i in range(0, len(pixels), 256))


def judge(encoder: Any, data: Prepared) -> dict[str, Any]:
    """Accuracy on the validation images, of the linear probe and of k-NN, each at its best stage."""
    device, params, classes = torch.device("cpu"), Evaluate(), len(data.classes)
    train, val = (extract(encoder, data.images(split), device) for split in ("train", "val"))
    labels, truth = (torch.from_numpy(np.array(data.labels(split))) for split in ("train", "val"))
    scores: dict[str, dict[str, float]] = {"linear": {}, "knn": {}}
    for stage in train:
        models = linear.path(train[stage], labels, classes, params.linear_l2, params.linear_steps, device)
        scores["linear"][stage] = max(share(m.probabilities(val[stage]).argmax(1), truth) for m in models)
        votes = knn(train[stage], labels, val[stage], classes, params.knn_k, params.knn_temperature, device)
        scores["knn"][stage] = share(votes.predictions, truth)
    stages = {probe: max(values, key=values.__getitem__) for probe, values in scores.items()}
    best = {probe: round(100 * scores[probe][stage], 2) for probe, stage in stages.items()}
    return {**best, "stage": stages["linear"], "knn_stage": stages["knn"]}


def share(predicted: torch.Tensor, truth: torch.Tensor) -> float:
    """Accuracy, 0 to 1."""
    return float((predicted == truth).double().mean())


def main() -> None:
    """Search the methods named, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images with train/ and test/; default: the generated data")
    parser.add_argument("--images", type=int, default=24_000, help="images seen in each training")
    parser.add_argument(
        "--again", type=int, metavar="N", help="train the two best trials once more, with N images seen"
    )
    parser.add_argument("--rate", type=float, metavar="X", help="the defaults and X times their rate, with three seeds")
    known = [name for name in registry.available() if name not in get_args(Control)]
    parser.add_argument("methods", nargs="+", metavar="METHOD", choices=known)
    words = parser.parse_args()
    torch.set_num_threads(1)
    source = {"source": "folder", "path": str(words.data), "max_images": 24_000, "val_fraction": 0.25}
    with tempfile.TemporaryDirectory() as folder:
        images, labels = Path(folder) / "images", Path(folder) / "labels"
        prepare(Prepare.model_validate(source if words.data else {"source": "synthetic"}), images, labels)
        data = Prepared(images, labels)
        for method in words.methods:
            name = words.data.name if words.data else "generated"
            if words.rate:
                rates(method, data, name, words.images, words.rate)
            elif words.again:
                again(method, data, name, words.images, words.again)
            else:
                search(method, data, name, words.images)


if __name__ == "__main__":
    os.nice(19)
    sys.exit(main())
