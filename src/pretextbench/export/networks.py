"""Lines of Python that load an encoder of timm or torchvision in its own library and take features from its maps."""

from collections.abc import Iterator
from pathlib import Path

from pretextbench.encoder import Encoder
from pretextbench.encoders.adapter import Adapter
from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.export.graphs import INPUT
from pretextbench.train.encoder_folder import Card


def of_library(encoder: Encoder, library: str) -> Adapter | None:
    """The encoder, if it is a network of `library`; None if it is none of another library.

    Raises:
        UserError: it is a network of another library.
    """
    if not isinstance(encoder, Adapter):
        return None
    home = encoder.name.partition("/")[0]
    if home != library:
        raise UserError(
            f"--to {library}: this encoder is {encoder.name}. Export it with --to {home}, onnx or torchscript."
        )
    return encoder


def timm_lines(encoder: Adapter, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` into timm's model and turns `images` into `features`."""
    side = encoder.side or card.image_size
    mean, std = (tuple(round(value, 7) for value in values) for values in (card.mean, card.std))
    name = encoder.name.removeprefix("timm/")
    return "\n".join(
        [
            "import timm, torch",
            "from safetensors.torch import load_file",
            "from torchvision.transforms.v2 import Normalize",
            "",
            f"facts = dict(mean={mean}, std={std}, input_size=(3, {side}, {side}), crop_pct=1.0)",
            f"model = timm.create_model({name!r}, num_classes=0, pretrained_cfg_overlay=facts)",
            f"model.load_state_dict(load_file({str(path)!r}))",
            "config = timm.data.resolve_model_data_config(model)  # for timm.data.create_transform(**config)",
            "normalise = Normalize(config['mean'], config['std'])",
            *_resized(encoder),
            "with torch.no_grad():",
            *_indented(encoder.readout(layer)),
            *_pooled(encoder, layer),
        ]
    )


def torchvision_lines(encoder: Adapter, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` into torchvision's model and turns `images` into `features`."""
    mean, std = ([round(value, 7) for value in values] for values in (card.mean, card.std))
    return "\n".join(
        [
            "import torch, torchvision",
            "from safetensors.torch import load_file",
            "from torchvision.models.feature_extraction import create_feature_extractor",
            "from torchvision.transforms.v2 import Normalize",
            "",
            f"model = torchvision.models.get_model({encoder.name.removeprefix('torchvision/')!r}, weights=None)",
            f"model.load_state_dict(load_file({str(path)!r}), strict=False)  # without the classifier",
            f"normalise = Normalize(mean={mean}, std={std})",
            *_resized(encoder),
            "with torch.no_grad():",
            *_indented(encoder.readout(layer)),
            *_pooled(encoder, layer),
        ]
    )


def _resized(encoder: Adapter) -> list[str]:
    if encoder.side is None:
        return [f"sized = images  # {INPUT}"]
    return [
        f"size = ({encoder.side}, {encoder.side})  # the network takes one size",
        f"sized = torch.nn.functional.interpolate(images, size, mode='bilinear', antialias=True)  # {INPUT}",
    ]


def _pooled(encoder: Adapter, layer: str) -> list[str]:
    grid = 1 if layer == list(encoder.channels)[-1] else LayerFeatures(encoder, layer).grid
    return [f"features = torch.nn.functional.adaptive_avg_pool2d(maps, {grid}).flatten(1)"]


def _indented(lines: list[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines)
