"""What SimCLR's k-NN on CIFAR-10 depends on: `uv run python -m benchmarks.simclr_gap FOLDER [--arms A ...]`.

The recipe that lightly publishes (benchmarks/rows/published.py) on ResNet-10 x16, scaled down to a CPU, and one change
per arm, each a difference between this project and lightly's script. FOLDER has train/ and test/, one folder per class.
The score is lightly's k-NN (k = 200, T = 0.1) on the last stage, on validation images; test images are never opened.
Each training runs on one thread and is a row of results/simclr_gap.csv. What has a row is not run again.
`--defaults` takes the plugin's own recipe instead, and adds the probes of benchmarks/search.py, each at its best stage.
"""

import argparse
import io
import os
import sys
import tempfile
from itertools import permutations
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks import csv_rows
from benchmarks.harness import RESULTS
from benchmarks.rows.published import RECIPE
from benchmarks.search import judge
from pretextbench import registry
from pretextbench.augment.kernels import FastColorJitter
from pretextbench.augment.pipeline import SHARED
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.params import EncoderParams, Prepare, Pretrain
from pretextbench.parts.pairs import encode
from pretextbench.train import encoder_folder, optim
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

TABLE = RESULTS / "simclr_gap.csv"
COLUMNS = ("arm", "seed", "images", "knn", "seconds", "recipe", "data", "linear", "best_knn")
SimCLR: Any = registry.load("simclr")
BATCH = 128
OPTIMIZER = {**RECIPE["optimizer"], "lr": 0.06}  # type: ignore[dict-item]  # lightly: 0.06 for 128 images


class TorchInitialised(SimCLR):
    """Convolutions as torch leaves them, like lightly's script, and not Kaiming's for ReLUs."""

    @classmethod
    def build_encoder(cls, *values: Any) -> Any:
        """The encoder, its convolutions drawn again."""
        encoder = super().build_encoder(*values)
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        return encoder


class ViewByView(SimCLR):
    """Batch norm sees each view by itself."""

    def project(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """z of both views, each (B, head_dim)."""
        z1, z2 = (self.projector(maps) for maps in encode(self.encoder, views[:2]))
        return z1, z2


def compressed(images: np.ndarray, quality: int = 75) -> np.ndarray:
    """Each image (H, W, 3) through JPEG and back."""
    result = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        result[i] = np.asarray(Image.open(file))
    return result


class Compressed(Prepared):
    """The images as JPEG of quality 75."""

    def images(self, split: Any) -> np.ndarray:
        """As `Prepared.images`."""
        return compressed(super().images(split))


def everything_decayed(parameters: list[nn.Parameter], *_: Any) -> Any:
    """One group for all parameters: weight decay on norms and biases too."""
    return [{"params": parameters}]


def order_by_image(
    jitter: FastColorJitter, images: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any
) -> Tensor:
    """Colour jitter whose steps have another order for each image (B, 3, H, W), not one for the batch."""
    draw = torch.Generator().manual_seed(int(params["hue_factor"].double().sum() * 1e9) % 2**31)
    orders, result = list(permutations(range(4))), torch.empty_like(images)
    chosen = torch.randint(len(orders), (len(images),), generator=draw)
    for number in chosen.unique().tolist():
        rows = (chosen == number).nonzero().flatten()
        own = {name: value if name in SHARED else value[rows] for name, value in params.items()}
        own["order"] = torch.tensor(orders[number])
        result[rows] = ORDER_BY_BATCH(jitter, images[rows], own, flags)
    return result


ORDER_BY_BATCH = FastColorJitter.apply_transform
ARMS = ("as it is", "initialisation of torch", "norms per view", "decay of norms", "JPEG", "order per image")


def measure(arm: str, seed: int, folders: tuple[Path, Path], images: int, defaults: bool) -> dict[str, Any]:
    """Train once; k-NN on validation and seconds, with `defaults` the linear probe too."""
    method = {"initialisation of torch": TorchInitialised, "norms per view": ViewByView}.get(arm, SimCLR)
    data = (Compressed if arm == "JPEG" else Prepared)(*folders)
    params = method.Params.model_validate({} if defaults else {**RECIPE, "optimizer": OPTIMIZER})
    batch = Pretrain().batch_size if defaults else BATCH
    budget = Pretrain(images=images, batch_size=batch, precision="fp32", log_every=100)
    recipe, encoder = method.recipe(params, data.image_size), EncoderParams(name="resnet10", width=16)
    job = Job(registry.find("simclr"), arm, method, params, encoder, budget, recipe, {}, seed)
    jitter = order_by_image if arm == "order per image" else ORDER_BY_BATCH
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(optim, "_groups", _groups(arm)),
        mock.patch.object(FastColorJitter, "apply_transform", jitter),
    ):
        card = pretrain(job, data, Path(folder) / "encoder", Path(folder) / "scratch", show=False)
        network, _ = encoder_folder.load(Path(folder) / "encoder")
    scores = judge(network, data) if defaults else {}
    row = {"knn": round(100 * accuracy(network, data), 2), "seconds": card.seconds}
    return {**row, "linear": scores.get("linear"), "best_knn": scores.get("knn")}


def _groups(arm: str) -> Any:
    return everything_decayed if arm == "decay of norms" else optim._groups


def accuracy(network: nn.Module, data: Prepared) -> float:
    """k-NN of the validation images among the training images, last stage."""
    cpu = torch.device("cpu")
    bank, queries = (list(extract(network, data.images(split), cpu).values())[-1] for split in ("train", "val"))
    labels, truth = (torch.from_numpy(np.array(data.labels(split))) for split in ("train", "val"))
    votes = knn(bank, labels, queries, len(data.classes), 200, 0.1, cpu)
    return float((votes.predictions == truth).double().mean())


def main() -> None:
    """Train each arm with each seed, seed by seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simclr_gap", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="default: the generated data")
    parser.add_argument("--defaults", action="store_true", help="the recipe of the plugin, in place of lightly's")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=48_000, help="images seen in each training")
    words = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folders = Path(folder) / "images", Path(folder) / "labels"
        source = {"source": "folder", "path": str(words.folder), "image_size": 32}
        prepare(Prepare.model_validate(source if words.folder else {"source": "synthetic"}), *folders)
        name = words.folder.name if words.folder else "generated"
        recipe = "defaults" if words.defaults else "lightly"
        for seed in words.seeds:
            for arm in words.arms:
                key = {"arm": arm, "seed": seed, "images": words.images, "recipe": recipe, "data": name}
                if not csv_rows.find(TABLE, key):
                    row = {**key, **measure(arm, seed, folders, words.images, words.defaults)}
                    csv_rows.append(TABLE, COLUMNS, row)
                    print(row, flush=True)


if __name__ == "__main__":
    os.nice(19)
    sys.exit(main())
