"""Networks of other libraries as encoders: what the adapters of timm and torchvision share."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pretextbench.encoders.interface import Encoder
from pretextbench.errors import UserError

STAGES = 4  # maps that are kept of a network, as of the residual networks
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation, on the [0, 1] scale
USUAL = 224  # pixels at which the resolutions of a network without a size of its own are compared


@dataclass(frozen=True)
class Offer:
    """Weights that a library has for a network; it downloads them, or takes them from its cache."""

    name: str  # as the library writes it
    mean: tuple[float, ...]  # that the weights were made with, on the [0, 1] scale
    std: tuple[float, ...]
    licence: str  # as the library states it
    place: str  # of the file, for a person who downloads it on another machine
    load: Callable[[], Mapping[str, Tensor]]  # the library's own call


class Adapter(Encoder):
    """A network of another library: maps of its stages, at its own input size, under its own names of weights.

    `network` is the library's network without a classifier; its state dict is what the library loads.
    """

    prefix = 1  # tokens that are no patch; they stand in front, the class token first

    def __init__(
        self,
        name: str,
        network: nn.Module,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        side: int | None,
    ) -> None:
        """Choose the stages, without computing anything and without drawing a random number.

        Args:
            name: as in params.yaml, for messages.
            network: the library's network, freshly initialised.
            image_size: side of the images in pixels.
            mean: per channel, on the [0, 1] scale, as `std`.
            std: see `mean`.
            side: to which images are resized, in pixels; None: the network takes any size.

        Raises:
            UserError: the network gives no maps, or takes no images of this size.
        """
        super().__init__(mean, std, image_size)
        self.name, self.network, self.side = name, network, side
        self.channels: dict[str, int] = {}
        self.class_token = False
        shapes = self._shapes(side or USUAL)
        self.channels = {stage: shapes[stage][0] for stage in spread(shapes)}
        self.dim = list(self.channels.values())[-1]
        if side is None:
            self._shapes(image_size)

    def read(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Maps (B, C, h, w) of the stages in `channels`; of all stages while that is empty. `x` is normalised.

        Behind them the class token (B, C), as the network's own classifier reads it; None without.
        """
        raise NotImplementedError

    @property
    def usual(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of the images on which the library trains this network, on the [0, 1] scale."""
        raise NotImplementedError

    def offer(self, tag: str) -> Offer:
        """The weights called `tag`; `pretrained` stands for the usual ones.

        Raises:
            UserError: the library has no such weights.
        """
        raise NotImplementedError

    def readout(self, stage: str) -> list[str]:
        """Python that takes `maps`, (B, C, h, w) of a stage, out of the library's `model`, from images `sized`."""
        raise NotImplementedError

    def readout_tokens(self) -> list[str]:
        """The same for `tokens`, (B, prefix + n, C), behind the last norm."""
        raise NotImplementedError

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps (B, C, h, w) of up to four stages, by name, first to last."""
        return self.outputs(x)[0]

    def outputs(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """See `Encoder.outputs`."""
        return self.read(self.normalise(self.sized(x)))

    def sized(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) at the one size that the network takes, if it does."""
        if self.side is None:
            return images
        # also images of that size, which stay as they are: a traced graph takes any
        return F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)

    def _shapes(self, side: int) -> dict[str, tuple[int, int]]:
        """Channels and side of every map for images of `side`, from shapes alone: on torch's device `meta`."""
        call = _Maps(self.eval())
        tensors = {
            name: tensor.detach().to("meta")
            for name, tensor in itertools.chain(call.named_parameters(), call.named_buffers())
        }
        try:
            with torch.no_grad():
                maps, token = functional_call(call, tensors, (torch.empty(1, 3, side, side, device="meta"),))
            shapes = {name: (int(m.shape[1]), int(m.shape[-1])) for name, m in maps.items()}
        except Exception as error:  # any network may refuse a size in its own way
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(
                f"encoder.name: {self.name} gives no feature maps of images of {side} px ({reason}). Raise "
                "prepare.image_size, to a multiple of 32 if it is none, or choose another encoder."
            ) from error
        self.class_token = token is not None
        self.train()
        return shapes


class _Maps(nn.Module):
    """What an adapter reads as what is called, so that its tensors can be exchanged for the call."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """(B, 3, H, W) -> maps by name, class token."""
        return self.adapter.read(x)


def spread(shapes: Mapping[str, tuple[int, int]]) -> list[str]:
    """The stages that are kept: the last one of each of the last four resolutions.

    Of a network with one resolution, such as a vision transformer, four that lie evenly, the last one among them.
    """
    names, count = list(shapes), len(shapes)
    last = {side: name for name, (_, side) in shapes.items()}
    if len(last) == 1:
        return list(dict.fromkeys(names[max((i + 1) * count // STAGES, 1) - 1] for i in range(STAGES)))
    return [name for name in names if name in last.values()][-STAGES:]


def tidy(module: str) -> str:
    """The name of a stage from that of a module: `blocks_2` of `blocks.2`, because keys of metrics have dots."""
    return module.replace(".", "_")
