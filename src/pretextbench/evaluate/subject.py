"""The subject of an evaluation: one encoder, its snapshots, and how it is judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.evaluate.curve import Moment
from pretextbench.evaluate.features import Clock, extract
from pretextbench.evaluate.probes import Bench
from pretextbench.params import Evaluate
from pretextbench.views.frozen import Views


@dataclass(frozen=True)
class Snapshots:
    """The encoder along its training, for the learning curve."""

    moments: Iterable[Moment] = ()
    seen: int = 0  # images at the end


Features = Mapping[str, Tensor]  # stage -> (n, D)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Subject:
    """The subject of an evaluation: the encoder, the parameters, and the data besides the data set itself."""

    encoder: Encoder  # as pretrained; its weights and modes are left as they were
    params: Evaluate
    device: torch.device  # where features are computed and probes are fitted
    views: Views | None = None  # corrupted test images and pairs of validation views
    transfer: Prepared | None = None  # a second data set
    snapshots: Snapshots = Snapshots()
    untrained: bool = False  # the encoder of the control `random`, which `evaluate.scratch` trains on few labels
    clock: Clock = field(default_factory=Clock)

    def features(self, images: npt.NDArray[np.uint8]) -> Features:
        """Of every stage."""
        with self.clock.part("features"):
            return extract(self.encoder, images, self.device, self.params.batch_size)

    def bench(self, data: Prepared, held_out: Features, labels: Mapping[str, Tensor]) -> Bench:
        """The data of the probes; `held_out` are the features of the validation images."""
        cached = {split: held_out if split == "val" else self.features(data.images(split)) for split in SPLITS}
        return Bench(cached, labels, len(data.classes), self.params, self.device)
