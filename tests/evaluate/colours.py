"""A data set whose classes are colours, an encoder that sees none, and fine-tuning on them."""

import numpy as np
import torch
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.finetune import finetune
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, TinyEncoder

CPU = torch.device("cpu")
SHORT = Evaluate(finetune_images=3000, finetune_lr=1e-2)


class Colours(FakeData):
    """A class is a colour, all of one brightness: a grey eye sees noise and nothing else.

    Labels of other splits than those in `open` cannot be read.
    """

    def __init__(self, **sizes):
        super().__init__(**sizes)
        rng, self.open, self.asked = np.random.default_rng(1), ("train",), []
        for split, labels in self._labels.items():
            images = np.full((len(labels), 8, 8, 3), 40) + rng.integers(0, 60, (len(labels), 8, 8, 1))
            images[np.arange(len(labels)), :, :, labels] += 60
            self._images[split] = images.astype(np.uint8)

    def images(self, split):
        self.asked.append(split)
        return super().images(split)

    def labels(self, split):
        assert split in self.open, f"the labels of {split} were read"
        return self._labels[split]

    def accuracy(self, tuned):
        return float((tuned.prediction.classes == self._labels["test"]).mean())


class Grey(Encoder):
    """Adds the three channels up, so that its frozen features cannot tell colours of one brightness apart."""

    def __init__(self):
        super().__init__((0.5,) * 3, (0.25,) * 3)
        self.conv = nn.Conv2d(3, 8, 3)
        self.conv.weight.data = self.conv.weight.data[:, :1].repeat(1, 3, 1, 1)
        self.channels, self.dim = {"only": 8}, 8

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        return {"only": self.conv(self.normalise(x)).relu()}


def tune(data, encoder=None, rows=None, params=SHORT, name="10%.0"):
    labels = torch.from_numpy(data._labels["train"])
    rows, encoder = torch.arange(len(labels) - 1) if rows is None else rows, encoder or TinyEncoder()
    features = list(extract(encoder, FakeData.images(data, "train"), CPU).values())[-1]
    return finetune(encoder, data, features, rows, labels, params, CPU, name)


def per_class(data, count):
    labels = data._labels["train"]
    return torch.from_numpy(np.concatenate([np.flatnonzero(labels == k)[:count] for k in range(3)]))
