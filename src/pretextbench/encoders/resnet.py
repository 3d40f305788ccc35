"""Residual networks: one backbone for all methods, with features of every stage.

The blocks are written here and not imported from torchvision, because importing torchvision costs five seconds in
every stage and its network cannot be made narrower. The names of the weights are torchvision's, and a test holds the
outputs equal to torchvision's ResNet-18 and ResNet-50.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.encoders.interface import Encoder
from pretextbench.params import EncoderParams

SAFE_CHANNELS = 16  # from here on a strided 1x1 convolution may be trusted to oneDNN: see SlicedConv
SMALL_IMAGE = 64  # pixels; up to here the 7x7 stride-2 stem with max-pool would leave too little of the image


def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias (a norm follows), padded to keep H and W at stride 1."""
    return nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He 2016, figure 5 left)."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = shortcut(c_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, h, w) -> (B, width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)).add_(self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 and a shortcut (He 2016, figure 5 right)."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, width * self.expansion, 1), nn.BatchNorm2d(width * self.expansion)
        self.downsample = shortcut(c_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, h, w) -> (B, 4 width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)).add_(self.downsample(x)), inplace=True)


def shortcut(c_in: int, c_out: int, stride: int) -> nn.Module:
    """The identity where shapes allow it, else a strided 1x1 convolution."""
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    strided = conv if c_in >= SAFE_CHANNELS else SlicedConv
    return nn.Sequential(strided(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out))


class SlicedConv(nn.Conv2d):
    """A strided 1x1 convolution as a slice and an unstrided one: same weights, same values.

    On the CPU, oneDNN's backward pass of the strided one writes out of bounds in float32, channels last, from fewer
    than 16 channels (seen with torch 2.15 at 48 px and more): the process dies or, worse, does not.
    """

    def __init__(self, c_in: int, c_out: int, size: int, stride: int) -> None:
        super().__init__(c_in, c_out, size, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, h, w) -> (B, c_out, h / step, w / step)."""
        return super().forward(x[:, :, :: self.step, :: self.step])


@dataclass(frozen=True)
class Design:
    """Block type and blocks per stage of one ResNet (He 2016, table 1; resnet10 has one block per stage)."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]


DESIGNS = {
    "resnet10": Design(BasicBlock, (1, 1, 1, 1)),
    "resnet18": Design(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Design(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Design(Bottleneck, (3, 4, 6, 3)),
}


class ResNet(Encoder):
    """A residual network (He 2016) with a stem that fits the image: 3x3 stride 1, or 7x7 stride 2 and max-pool."""

    def __init__(self, params: EncoderParams, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std, image_size)
        design, width = DESIGNS[params.name], params.width
        self.small = params.stem == "small" or (params.stem == "auto" and image_size <= SMALL_IMAGE)
        self.conv1 = conv(3, width, 3) if self.small else conv(3, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if self.small else nn.MaxPool2d(3, stride=2, padding=1)
        self.channels, c_in = {}, width
        for i, depth in enumerate(design.depths):
            blocks, c_in = self._stage(design.block, c_in, width * 2**i, depth, stride=1 if i == 0 else 2)
            self.add_module(f"layer{i + 1}", blocks)
            self.channels[f"layer{i + 1}"] = c_in
        self.dim = c_in
        self._initialise()

    @staticmethod
    def _stage(
        block: type[BasicBlock] | type[Bottleneck], c_in: int, width: int, depth: int, stride: int
    ) -> tuple[nn.Sequential, int]:
        blocks: list[nn.Module] = []
        for i in range(depth):
            blocks.append(block(c_in, width, stride if i == 0 else 1))
            c_in = width * block.expansion
        return nn.Sequential(*blocks), c_in

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Maps of layer1 .. layer4: (B, C, h, w), h halving from stage to stage."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(self.normalise(x))), inplace=True))
        maps = {}
        for name in self.channels:
            maps[name] = x = self.get_submodule(name)(x)
        return maps
