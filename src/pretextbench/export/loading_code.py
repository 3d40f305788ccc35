"""Lines of Python that load an encoder of timm or torchvision in its own library and take features from it."""

from collections.abc import Iterator
from pathlib import Path

from pretextbench.encoder import Encoder
from pretextbench.encoders.adapter import Adapter
from pretextbench.encoders.interface import BOTH
from pretextbench.encoders.vit import VisionTransformer
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
            *_indented(_read(encoder, layer)),
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
            *_indented(_read(encoder, layer)),
            *_pooled(encoder, layer),
        ]
    )


def transformer_lines(encoder: VisionTransformer, facts: str, path: Path, layer: str) -> str:
    """Python that loads a vision transformer, whose maps all have one size, and takes the features of a layer."""
    sizes = f"patch_size={encoder.patch}, embed_dim={encoder.dim}, depth={len(encoder.network.blocks)}"
    heads = encoder.network.blocks[0].attn.num_heads
    lines = [
        "import timm, torch",
        "from safetensors.torch import load_file",
        "from torchvision.transforms.v2 import Normalize",
        "",
        f"facts = dict({facts}, crop_pct=1.0)",
        f"sizes = dict(img_size={encoder.image_size}, {sizes}, num_heads={heads})",
        "anysize = dict(dynamic_img_size=True, dynamic_img_pad=True)",
        "model = timm.models.VisionTransformer(num_classes=0, **sizes, **anysize)",
        "model.pretrained_cfg = facts",
        f"model.load_state_dict(load_file({str(path)!r}))",
        "config = timm.data.resolve_model_data_config(model)  # for timm.data.create_transform(**config)",
        "normalise = Normalize(config['mean'], config['std'])",
        "with torch.no_grad():",
        *_of_transformer(encoder, layer),
    ]
    return "\n".join(lines)


def _of_transformer(encoder: VisionTransformer, layer: str) -> list[str]:
    if layer not in encoder.channels:
        lines = [f"    tokens = model.eval().forward_features(normalise(images))  # {INPUT}"]
        return [*lines, of_tokens(layer, encoder.prefix)]
    index = int(layer.removeprefix("block")) - 1
    return [
        f"    maps = model.eval().forward_intermediates(normalise(images), indices=[{index}], norm=True)[1]  # {INPUT}",
        "features = maps[0].mean((2, 3))",
    ]


def _read(encoder: Adapter, layer: str) -> list[str]:
    return encoder.readout(layer) if layer in encoder.channels else encoder.readout_tokens()


def _resized(encoder: Adapter) -> list[str]:
    if encoder.side is None:
        return [f"sized = images  # {INPUT}"]
    return [
        f"size = ({encoder.side}, {encoder.side})  # the network takes one size",
        f"sized = torch.nn.functional.interpolate(images, size, mode='bilinear', antialias=True)  # {INPUT}",
    ]


def of_tokens(layer: str, prefix: int) -> str:
    """Python that makes `features` of a class token's layer from `tokens`, of which `prefix` are no patches."""
    both = f"torch.cat([tokens[:, 0], tokens[:, {prefix}:].mean(1)], 1)"
    return f"features = {both if layer == BOTH else 'tokens[:, 0]'}"


def _pooled(encoder: Adapter, layer: str) -> list[str]:
    if layer not in encoder.channels:
        return [of_tokens(layer, encoder.prefix)]
    grid = 1 if layer == list(encoder.channels)[-1] else LayerFeatures(encoder, layer).grid
    return [f"features = torch.nn.functional.adaptive_avg_pool2d(maps, {grid}).flatten(1)"]


def _indented(lines: list[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines)
