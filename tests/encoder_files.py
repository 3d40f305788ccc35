"""Encoders on the disk, as training would leave them: random weights, batch-norm statistics that are not trivial."""

import copy
import functools
from pathlib import Path

import torch
from torch import nn

from pretextbench.encoder import ResNet, build
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from tests.train.test_encoder_folder import card

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def network(params: EncoderParams, side: int) -> ResNet:
    """A network of its own, which is made once per design."""
    return copy.deepcopy(_network(params.model_dump_json(), side))


@functools.cache
def _network(params: str, side: int) -> ResNet:
    """A network whose every norm shifts and scales, with running statistics of its own."""
    encoder = build(EncoderParams.model_validate_json(params), side, MEAN, STD)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        for _ in range(3):
            encoder.train()(torch.rand(8, 3, side, side))
    return encoder.eval()


def write(folder: Path, name: str = "resnet10", width: int = 4, stem: str = "auto", side: int = 16) -> Path:
    """A folder with encoder.safetensors and encoder.json."""
    params = EncoderParams.model_validate({"name": name, "width": width, "stem": stem})
    facts = {"image_size": side, "mean": MEAN, "std": STD, "seed": 0}
    encoder_folder.save(network(params, side), card(encoder=params).model_copy(update=facts), folder)
    return folder
