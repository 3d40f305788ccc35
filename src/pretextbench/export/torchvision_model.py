"""As a torchvision model: its state dict, in a safetensors file, and the lines that build the network around it.

torchvision's ResNets have 64 channels and the large stem. Another stem is two lines; another width has no argument, so
the stages are built anew, by torchvision's own `_make_layer`.
"""

from pathlib import Path

from safetensors.torch import save_file

from pretextbench.encoder import Encoder
from pretextbench.export.formats import PAPER, Plan, plan, readout, residual, rounded, weights
from pretextbench.train.encoder_folder import Card


def write(encoder: Encoder, card: Card, path: Path, layer: str) -> None:
    """A state dict without the last layer, under torchvision's names."""
    save_file(weights(residual(encoder, "torchvision")), path)


def code(encoder: Encoder, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` and turns `images` into `features`."""
    design = plan(card.encoder, residual(encoder, "torchvision").small)
    return "\n".join(
        [
            "import torch, torchvision",
            "from safetensors.torch import load_file",
            "from torchvision.transforms.v2 import Normalize",
            "",
            f"model = {_built(design)}",
            *design.stem(),
            *_stages(design),
            "model.fc = torch.nn.Identity()  # features, not classes",
            f"model.load_state_dict(load_file({str(path)!r}))",
            f"normalise = Normalize(mean={rounded(card.mean)}, std={rounded(card.std)})",
            *readout(encoder, layer),
        ]
    )


def _built(design: Plan) -> str:
    if design.known:
        return f"torchvision.models.{design.name}()"
    return f"torchvision.models.ResNet(torchvision.models.resnet.{design.block}, {list(design.depths)})"


def _stages(design: Plan) -> list[str]:
    if design.width == PAPER:
        return []
    block, width = f"torchvision.models.resnet.{design.block}", design.width
    return [
        f"model.bn1, model.inplanes = torch.nn.BatchNorm2d({width}), {width}  # the width has no argument: stages anew",
        f"for i, depth in enumerate({list(design.depths)}):",
        f"    stage = model._make_layer({block}, {width} * 2**i, depth, stride=min(i + 1, 2))",
        "    setattr(model, f'layer{i + 1}', stage)",
    ]
