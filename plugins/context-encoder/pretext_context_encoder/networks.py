"""The networks behind the encoder (channel-wise connections, generator) and against it, and their errors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BEST_PSNR = 100.0  # dB; of a perfect prediction, whose PSNR is infinite
LARGEST_MAP = 8  # n of the channel-wise layer: its weights grow with n^4


class ChannelwiseLinear(nn.Module):
    """Every channel's map is fully connected to itself, and to no other: m n^4 weights, no bias (paper, section 3.1).

    It carries what is known at one place to all others, which convolutions of a small reach do not. The full
    connection would have m^2 n^4 weights. Starts as the identity, plus noise of the usual size.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        n = side * side
        self.weight = nn.Parameter(torch.eye(n).repeat(channels, 1, 1) + torch.randn(channels, n, n) * n**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, m, n, n) -> (B, m, n, n)."""
        mixed: Tensor = torch.einsum("bci,cij->bcj", x.flatten(2), self.weight).unflatten(2, x.shape[2:])
        return mixed


def sides(side: int, image_size: int) -> list[int]:
    """The sides on the way from a map to the image, each half of the next: 4, 32 -> 8, 16, 32."""
    sides = [image_size]
    while (half := -(-sides[-1] // 2)) > side:
        sides.append(half)
    return sides[::-1]


def up_block(c_in: int, c_out: int) -> nn.Sequential:
    """Convolution, norm, ReLU; the map is doubled after it, which is a quarter of the work of doubling before."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Generator(nn.Module):
    """The encoder's last map (B, m, h, h) to an image (B, 3, H, H) in [-1, 1].

    Channel-wise connections; a 1x1 convolution that lets the channels speak to each other; one block per doubling; a
    last convolution and tanh. A map larger than 8 x 8 is averaged down to that before.
    """

    def __init__(self, channels: int, side: int, image_size: int) -> None:
        super().__init__()
        self.side = min(side, LARGEST_MAP)
        self.channelwise = ChannelwiseLinear(channels, self.side)
        self.across = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.sides = sides(self.side, image_size)
        self.blocks = nn.ModuleList()
        for _ in self.sides:
            narrow = max(16, channels // 2)
            self.blocks.append(up_block(channels, narrow))
            channels = narrow
        self.last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, m, h, h) -> (B, 3, H, H) in [-1, 1], float32."""
        x = F.adaptive_avg_pool2d(x, self.side) if x.shape[-1] > self.side else x
        x = self.across(self.channelwise(x))
        for side, block in zip(self.sides, self.blocks, strict=True):
            x = F.interpolate(block(x), size=(side, side), mode="nearest")
        image: Tensor = self.last(x).float().tanh()
        return image


class Discriminator(nn.Module):
    """Real or generated? Images (B, 3, S, S) in [-1, 1] to logits (B,); float32 always.

    As in the reference code: 4x4 convolutions of stride 2, width doubling, leaky ReLU 0.2, batch norm on all but the
    first; then one valid convolution to a single logit; weights from N(0, 0.02).
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in, c_out = 3, width
        while size > 4:
            layers.append(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=not layers))
            if c_in > 3:
                layers.append(nn.BatchNorm2d(c_out))
            layers.append(nn.LeakyReLU(0.2))
            c_in, c_out, size = c_out, min(2 * c_out, 8 * width), size // 2
        layers.append(nn.Conv2d(c_in, 1, size))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B,)."""
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.layers(x.to(next(self.parameters()).dtype)).flatten()
            return logits


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def reconstruction(fake: Tensor, x: Tensor, hole: Tensor, band: Tensor, weight: float) -> Tensor:
    """Equation 3, the mean over all missing values of the batch; images (B, 3, H, W), hole and band (B, 1, H, W) bool.

    The band's squared errors count `weight` times, its size once, as in the reference code. Nothing missing gives 0.
    """
    missing = 3 * (hole | band).sum().clamp_min(1)
    return ((hole + weight * band) * (x - fake).square()).sum() / missing


def adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """Equation 4 from logits (B,): E[log D(x)] + E[log(1 - D(x^))], at most 0; -2 ln 2 when D cannot tell."""
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


def accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's accuracy, from logits (B,): 1/2 is chance."""
    return ((real > 0).float().mean() + (fake <= 0).float().mean()) / 2


def psnr(squared: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error on the [0, 1] scale, at most 100."""
    return min(BEST_PSNR, -10 * math.log10(squared)) if squared > 0 else BEST_PSNR
