"""As a timm model: its state dict, in a safetensors file, and the lines that build the network around it.

timm has resnet18, resnet34 and resnet50 of 64 channels by name. Its resnet10t is another network (a deep, tiered stem),
so a ResNet-10, like any other width, is built from timm's own blocks. Mean, standard deviation and size of the images
go into the model's `pretrained_cfg`, where timm's transforms look for them.
"""

from pathlib import Path

from safetensors.torch import save_file

from pretextbench.encoder import Encoder
from pretextbench.export.formats import PAPER, Plan, plan, readout, residual, rounded, weights
from pretextbench.train.encoder_folder import Card


def write(encoder: Encoder, card: Card, path: Path, layer: str) -> None:
    """A state dict without the last layer, under timm's names."""
    save_file(weights(residual(encoder, "timm")), path)


def code(encoder: Encoder, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` and turns `images` into `features`."""
    design = plan(card.encoder, residual(encoder, "timm").small)
    side = card.image_size
    facts = f"mean={tuple(rounded(card.mean))}, std={tuple(rounded(card.std))}, input_size=(3, {side}, {side})"
    return "\n".join(
        [
            "import timm, torch",
            "from safetensors.torch import load_file",
            "from torchvision.transforms.v2 import Normalize",
            *([] if design.known else ["from timm.models.resnet import BasicBlock, Bottleneck, ResNet, make_blocks"]),
            "",
            f"facts = dict({facts}, crop_pct=1.0)",
            *_built(design),
            *design.stem(),
            *_stages(design),
            f"model.load_state_dict(load_file({str(path)!r}))",
            "config = timm.data.resolve_model_data_config(model)  # for timm.data.create_transform(**config)",
            "normalise = Normalize(config['mean'], config['std'])",
            *readout(encoder, layer),
        ]
    )


def _built(design: Plan) -> list[str]:
    if design.known:
        return [f"model = timm.create_model({design.name!r}, num_classes=0, pretrained_cfg_overlay=facts)"]
    return [
        f"model = ResNet({design.block}, {design.depths}, num_classes=0, channels={design.widths})  # no name in timm",
        "model.pretrained_cfg = facts",
    ]


def _stages(design: Plan) -> list[str]:
    if design.width == PAPER:
        return []
    return [
        f"model.bn1 = torch.nn.BatchNorm2d({design.width})",
        f"stages, info = make_blocks(({design.block},) * 4, {design.widths}, {design.depths}, {design.width})",
        "for name, stage in stages:  # anew, since timm's stem always has 64 channels",
        "    setattr(model, name, stage)",
    ]
