"""The residual network of an encoder, in the words that torchvision and timm share."""

from dataclasses import dataclass

from pretextbench.encoder import DESIGNS, BasicBlock
from pretextbench.params import EncoderParams

PAPER = 64  # channels of the first stage, which other libraries take for granted


@dataclass(frozen=True)
class Plan:
    """What a library must be told to build the same network."""

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
    def known(self) -> bool:
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
