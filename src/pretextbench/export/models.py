"""Export as a model of torchvision or timm: its state dict, in a safetensors file, and lines of Python that build it.

The lines build the network from the library's own blocks and load the weights. Where an encoder has another stem or
width than the library's models, the lines change the model before they load the weights.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from pretextbench.encoder import Encoder, ResNet
from pretextbench.encoders.resnet import DESIGNS, BasicBlock
from pretextbench.encoders.vit import VisionTransformer
from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.export.graphs import INPUT
from pretextbench.export.loading_code import of_library, timm_lines, torchvision_lines, transformer_lines
from pretextbench.params import EncoderParams
from pretextbench.train.encoder_folder import Card

PAPER = 64  # channels of the first stage, which other libraries take for granted


@dataclass(frozen=True)
class Plan:
    """The arguments with which another library builds the same network."""

    name: str  # resnet18
    block: str  # BasicBlock or Bottleneck: the same word in torchvision and timm
    depths: tuple[int, ...]  # blocks per stage
    widths: tuple[int, ...]  # channels per stage, before the expansion of the block
    small: bool  # stem of 3x3, stride 1, without pooling

    @property
    def width(self) -> int:
        """Channels of the stem and of the first stage."""
        return self.widths[0]

    @property
    def is_standard(self) -> bool:
        """Whether torchvision and timm have this network, but for its stem, under its name."""
        return self.width == PAPER and self.name != "resnet10"

    def stem(self) -> list[str]:
        """Python that gives `model`, built with the large stem of 64 channels, the encoder's stem."""
        if self.small:
            return [
                f"model.conv1 = torch.nn.Conv2d(3, {self.width}, 3, padding=1, bias=False)  # small images: stride 1,",
                "model.maxpool = torch.nn.Identity()  # and no pooling",
            ]
        if self.width != PAPER:
            return [f"model.conv1 = torch.nn.Conv2d(3, {self.width}, 7, stride=2, padding=3, bias=False)"]
        return []


def plan(params: EncoderParams, small: bool) -> Plan:
    """Of the encoder that these parameters gave."""
    design = DESIGNS[params.name]
    block = "BasicBlock" if design.block is BasicBlock else "Bottleneck"
    return Plan(params.name, block, design.depths, tuple(params.width * 2**i for i in range(4)), small)


def residual(encoder: Encoder, name: str) -> ResNet:
    """The encoder, if it is the shared residual network.

    Raises:
        UserError: it is a vision transformer, or a backbone of a method's own, which no other library knows.
    """
    if type(encoder) is VisionTransformer:
        raise UserError(f"--to {name}: this encoder is a vision transformer of timm. Export it as timm or onnx.")
    if type(encoder) is not ResNet:
        raise UserError(
            f"--to {name}: this encoder is a {type(encoder).__name__}, a backbone of its method's own, which {name} "
            "does not have. Export it as onnx or torchscript."
        )
    return encoder


def weights(encoder: Encoder) -> dict[str, Tensor]:
    """Its tensors under the names of its library; the statistics of the images are left out."""
    encoder = getattr(encoder, "network", encoder)
    return {name: value.contiguous() for name, value in encoder.state_dict().items() if name not in ("mean", "std")}


def rounded(values: Any) -> list[float]:
    """Numbers as people read them; float32 has no more digits."""
    return [round(value, 7) for value in values]


def readout(encoder: Encoder, layer: str) -> list[str]:
    """Python that takes `features` of a layer out of a whole `model`, from images that `normalise` has made ready."""
    if layer == list(encoder.channels)[-1]:
        return ["with torch.no_grad():", f"    features = model.eval()(normalise(images))  # {INPUT}"]
    grid = LayerFeatures(encoder, layer).grid
    return [
        "maps = {}",
        f"model.{layer}.register_forward_hook(lambda module, inputs, output: maps.update({layer}=output))",
        "with torch.no_grad():",
        f"    model.eval()(normalise(images))  # {INPUT}",
        f"features = torch.nn.functional.adaptive_avg_pool2d(maps[{layer!r}], {grid}).flatten(1)",
    ]


class Torchvision:
    """torchvision's ResNets have 64 channels and the large stem.

    Another stem is two lines. Another width has no argument, so the lines build the stages again, by torchvision's own
    `_make_layer`.
    """

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """A state dict without the last layer, under torchvision's names."""
        save_file(weights(of_library(encoder, "torchvision") or residual(encoder, "torchvision")), path)

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`."""
        if network := of_library(encoder, "torchvision"):
            return torchvision_lines(network, card, path, layer)
        design = plan(card.encoder, residual(encoder, "torchvision").small)
        return "\n".join(
            [
                "import torch, torchvision",
                "from safetensors.torch import load_file",
                "from torchvision.transforms.v2 import Normalize",
                "",
                f"model = {_torchvision_model(design)}",
                *design.stem(),
                *_torchvision_stages(design),
                "model.fc = torch.nn.Identity()  # features, not classes",
                f"model.load_state_dict(load_file({str(path)!r}))",
                f"normalise = Normalize(mean={rounded(card.mean)}, std={rounded(card.std)})",
                *readout(encoder, layer),
            ]
        )


def _torchvision_model(design: Plan) -> str:
    if design.is_standard:
        return f"torchvision.models.{design.name}()"
    return f"torchvision.models.ResNet(torchvision.models.resnet.{design.block}, {list(design.depths)})"


def _torchvision_stages(design: Plan) -> list[str]:
    if design.width == PAPER:
        return []
    block, width = f"torchvision.models.resnet.{design.block}", design.width
    return [
        f"model.bn1, model.inplanes = torch.nn.BatchNorm2d({width}), {width}  # the width has no argument: stages anew",
        f"for i, depth in enumerate({list(design.depths)}):",
        f"    stage = model._make_layer({block}, {width} * 2**i, depth, stride=min(i + 1, 2))",
        "    setattr(model, f'layer{i + 1}', stage)",
    ]


class Timm:
    """timm has resnet18, resnet34 and resnet50 of 64 channels by name.

    Its resnet10t is a different network (a deep, tiered stem), so a ResNet-10, like any other width, is built from
    timm's blocks. Mean, standard deviation and size of the images are written into the model's `pretrained_cfg`, where
    timm's transforms look for them.
    """

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """A state dict without the last layer, under timm's names."""
        if type(encoder) is VisionTransformer:
            save_file({name: value.contiguous() for name, value in encoder.network.state_dict().items()}, path)
        else:
            save_file(weights(of_library(encoder, "timm") or residual(encoder, "timm")), path)

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`."""
        if network := of_library(encoder, "timm"):
            return timm_lines(network, card, path, layer)
        side = card.image_size
        facts = f"mean={tuple(rounded(card.mean))}, std={tuple(rounded(card.std))}, input_size=(3, {side}, {side})"
        if type(encoder) is VisionTransformer:
            return transformer_lines(encoder, facts, path, layer)
        design = plan(card.encoder, residual(encoder, "timm").small)
        return "\n".join(
            [
                "import timm, torch",
                "from safetensors.torch import load_file",
                "from torchvision.transforms.v2 import Normalize",
                *(
                    []
                    if design.is_standard
                    else ["from timm.models.resnet import BasicBlock, Bottleneck, ResNet, make_blocks"]
                ),
                "",
                f"facts = dict({facts}, crop_pct=1.0)",
                *_timm_model(design),
                *design.stem(),
                *_timm_stages(design),
                f"model.load_state_dict(load_file({str(path)!r}))",
                "config = timm.data.resolve_model_data_config(model)  # for timm.data.create_transform(**config)",
                "normalise = Normalize(config['mean'], config['std'])",
                *readout(encoder, layer),
            ]
        )


def _timm_model(design: Plan) -> list[str]:
    if design.is_standard:
        return [f"model = timm.create_model({design.name!r}, num_classes=0, pretrained_cfg_overlay=facts)"]
    return [
        f"model = ResNet({design.block}, {design.depths}, num_classes=0, channels={design.widths})  # no name in timm",
        "model.pretrained_cfg = facts",
    ]


def _timm_stages(design: Plan) -> list[str]:
    if design.width == PAPER:
        return []
    return [
        f"model.bn1 = torch.nn.BatchNorm2d({design.width})",
        f"stages, info = make_blocks(({design.block},) * 4, {design.widths}, {design.depths}, {design.width})",
        "for name, stage in stages:  # anew, since timm's stem always has 64 channels",
        "    setattr(model, name, stage)",
    ]
