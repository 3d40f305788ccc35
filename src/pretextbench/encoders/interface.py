"""The contract of an encoder: what every method trains, and what is kept of it."""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

CLS, BOTH = "cls", "cls_mean"  # layers: the class token, and the token with the mean of the patches


class Encoder(nn.Module):
    """What a method trains and what is kept of it. A method with a backbone of its own subclasses this.

    Images come in as float (B, 3, H, W) in [0, 1]; the encoder normalises them itself, so that corruptions and colour
    transforms act on real pixels and an exported encoder needs no separate recipe.
    """

    example: ClassVar[str] = ""  # a name in params.yaml that gives an encoder of this class, for messages
    dim: int  # of the pooled vector
    channels: dict[str, int]  # stage name -> channels of its map, in order
    class_token = False  # whether `outputs` gives one

    def __init__(self, mean: Sequence[float], std: Sequence[float], image_size: int | None = None) -> None:
        super().__init__()
        self.image_size = image_size  # side in pixels; `PretextMethod` fills it in where an encoder does not
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def normalise(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance per channel over the training set."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (x - mean) / std

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps (B, C, h, w) of every stage, by name, first to last."""
        raise NotImplementedError

    def outputs(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """The maps of `stages`, and the class token (B, dim) behind the last norm, of an encoder that has one."""
        return self.stages(x), None

    @property
    def layers(self) -> list[str]:
        """Names of what `features` gives, in its order."""
        *earlier, last = self.channels
        return [*earlier, *((CLS, BOTH) if self.class_token else ()), last]

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """What the evaluation probes, the last stage last: maps (B, C, h, w), and of the class token vectors (B, D).

        The vectors are `cls`, the token, and `cls_mean`, the token and the mean of the last map, one behind the other.
        """
        maps, token = self.outputs(x)
        if token is None:
            return maps
        *earlier, (name, last) = maps.items()
        return dict(earlier) | {CLS: token, BOTH: torch.cat([token, last.mean((2, 3))], 1), name: last}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Channels and side of every stage's map for images of `image_size`, by stage name, first to last.

        Measured by sending one black image through the encoder in evaluation mode: no random number is drawn, and no
        weight, buffer or mode changes.

        Raises:
            ValueError: the encoder was built without `image_size`, and no method has filled it in.
        """
        if self.image_size is None:
            raise ValueError("This encoder has no image_size, so its maps have no sides yet. Give it to Encoder.")
        black = self.get_buffer("mean").new_zeros(1, 3, self.image_size, self.image_size)
        modes = [(module, module.training) for module in self.modules()]
        devices = [black.device] if black.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            maps = self.eval().stages(black)
        for module, mode in modes:
            module.training = mode
        return {name: (feature_map.shape[1], feature_map.shape[-1]) for name, feature_map in maps.items()}

    def forward(self, x: Tensor) -> Tensor:
        """The average of the last stage over space: (B, dim)."""
        maps = list(self.stages(x).values())
        return maps[-1].mean((2, 3))


class TokenEncoder(Encoder):
    """An encoder that cuts images into patches, one token each, and can encode any of them without the others.

    A method that drops tokens asks for this class in `requires`. The last map of `stages` is what `encode` makes of all
    tokens of `embed`, without the prefix.
    """

    example = "vit-tiny or timm/vit_tiny_patch16_224"
    patch: int  # pixels on a side of a patch
    prefix: int  # tokens that are no patch, such as the class token: `encode` puts them in front

    @property
    def grid(self) -> int:
        """Patches on a side of an image of `image_size`; their number is the square.

        Raises:
            ValueError: the encoder has no `image_size` yet.
        """
        if self.image_size is None:
            raise ValueError("This encoder has no image_size, so it has no grid yet. Give it to Encoder.")
        return self.image_size // self.patch

    def sized(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as `embed` cuts them, which a network that takes one size resizes."""
        return images

    def embed(self, images: Tensor) -> Tensor:
        """Tokens (B, N, D) of the patches of images (B, 3, H, W) in [0, 1], row by row, with their positions added.

        A token depends on no pixel outside its patch.
        """
        raise NotImplementedError

    def encode(self, tokens: Tensor) -> Tensor:
        """Any n tokens of `embed`, (B, n, D), through all blocks and the last norm: (B, prefix + n, D), in order."""
        raise NotImplementedError
