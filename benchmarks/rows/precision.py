"""Does bf16 change the answer? The default run in both precisions, three seeds each, judged as encoders are judged.

The difference of each seed is a pair: same images, same order, same draws, same initial weights.
"""

import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from benchmarks.harness import Measure
from pretextbench import params, registry
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate import linear
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.train import encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

METHODS, SEEDS = ("simclr", "rotation"), (0, 1, 2)
PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


def measure(rounds: int) -> Iterator[Measure]:
    """Points of test accuracy that bf16 gains over float32; the row `throughput` has the speed."""
    del rounds  # seeds take their place
    with tempfile.TemporaryDirectory() as name:
        folder, settings = Path(name), params.load(PARAMS)
        prepare(settings.prepare, folder / "images", folder / "labels")
        data = Prepared(folder / "images", folder / "labels")
        for method in METHODS:
            runs = [
                {kind: run(folder / f"{method}-{kind}-{seed}", data, settings, method, kind, seed) for kind in KINDS}
                for seed in SEEDS
            ]
            yield from judged(method, runs)


KINDS = ("fp32", "bf16")


def judged(method: str, runs: list[dict[str, dict[str, float]]]) -> Iterator[Measure]:
    """Mean difference over the seeds with its 95 % interval (Student's t), and both levels."""
    for score in ("linear", "k-NN"):
        gains = [100 * (pair["bf16"][score] - pair["fp32"][score]) for pair in runs]
        half = float(stats.t.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / math.sqrt(len(gains))
        mean = statistics.mean(gains)
        yield Measure(f"{method}, {score}: bf16 over fp32", mean, "points (95 % interval)", mean - half, mean + half)
        for kind in KINDS:
            for seed, pair in zip(SEEDS, runs, strict=True):
                yield Measure(f"{method}, {score}: {kind}, seed {seed}", 100 * pair[kind][score], "% right")


def run(folder: Path, data: Prepared, settings: Any, name: str, precision: str, seed: int) -> dict[str, float]:
    """Train one encoder and judge its last stage on test."""
    plugin, method = registry.find(name), registry.load(name)
    config, loop = method.Params(), settings.pretrain.model_copy(update={"precision": precision})
    job = Job(plugin, "", method, config, settings.encoder, loop, method.recipe(config, data.image_size), {}, seed)
    pretrain(job, data, folder / "encoder", folder / "scratch", show=False)
    encoder, _ = encoder_folder.load(folder / "encoder")
    return scores(encoder, data, settings.evaluate)


def scores(encoder: Any, data: Prepared, protocol: Any) -> dict[str, float]:
    """Accuracy of the linear probe, its penalty chosen on validation, and of k-NN."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = {split: list(extract(encoder, data.images(split), device).values())[-1] for split in ("train", "val", "test")}
    y = {split: torch.from_numpy(data.labels(split).copy()) for split in x}
    count = len(data.classes)
    models = linear.path(x["train"], y["train"], count, protocol.linear_l2, protocol.linear_steps, device)
    best, _ = linear.choose(models, x["val"], y["val"])
    votes = knn(x["train"], y["train"], x["test"], count, protocol.knn_k, protocol.knn_temperature, device)
    predictions = {"linear": best.probabilities(x["test"]).argmax(1), "k-NN": votes.predictions}
    return {score: float((guess == y["test"]).double().mean()) for score, guess in predictions.items()}
