"""Probes of colorization's encoder on colours, which it never saw: the reason why it takes the lightness only.

    uv run python -m benchmarks.colour_gap PROJECT [ROW]

PROJECT is a folder in which `dvc repro` has run, ROW one of its colorization encoders (colorization-0). Linear probe of
every stage, trained on training and judged on validation images: as the encoder is (lightness), and with the same
weights in the plain network, which is given the colours.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder, build
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import Bench, linear_probes
from pretextbench.params import Evaluate
from pretextbench.train import encoder_folder

CPU = torch.device("cpu")


def probes(encoder: Encoder, data: Prepared) -> dict[str, float]:
    """Validation accuracy of a linear probe at every stage; test images are not touched."""
    features = {split: extract(encoder, data.images(split), CPU, 512) for split in ("train", "val")}
    labels = {split: torch.from_numpy(np.array(data.labels(split))) for split in ("train", "val")}
    bench = Bench(features | {"test": features["val"]}, labels, len(data.classes), Evaluate(), CPU)
    return linear_probes(bench).val


def main() -> None:
    """Print one row per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("row", nargs="?", default="colorization-0")
    words = parser.parse_args()
    data = Prepared(words.project / "data/prepared/images", words.project / "data/prepared/labels")
    lightness, card = encoder_folder.load(words.project / "runs/pretrain" / words.row)
    colours = build(card.encoder, card.image_size, card.mean, card.std)
    colours.load_state_dict(lightness.state_dict())
    scores = [probes(encoder, data) for encoder in (lightness, colours.eval())]
    print("| stage | lightness % | colours % |\n|---|--:|--:|")
    for stage in scores[0]:
        print(f"| {stage} | {100 * scores[0][stage]:.1f} | {100 * scores[1][stage]:.1f} |")


if __name__ == "__main__":
    main()
