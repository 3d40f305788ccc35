"""Vision transformers: timm's network, with its maps and its tokens as this library's encoders give them."""

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pretextbench.encoders.interface import TokenEncoder
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams


class Design(NamedTuple):
    """Size of a vision transformer (Dosovitskiy 2021, table 1; tiny: Touvron 2021, table 1)."""

    width: int  # of a token
    heads: int


DESIGNS = {"vit-tiny": Design(192, 3), "vit-small": Design(384, 6), "vit-base": Design(768, 12)}
DEPTH, STAGES = 12, 4  # blocks, and maps that are given of them
FEWEST, MOST = 8, 16  # patches on a side of an image, where the size of a patch is chosen here


def patch_size(asked: Literal["auto"] | int, image_size: int) -> int:
    """Pixels on a side of a patch; auto: 4 below 64 px, 8 up to 128 px, 16 above, or what divides the image nearby.

    Raises:
        UserError: the patch does not divide the image, or no patch gives 64 to 256 of them.
    """
    divisors = [patch for patch in range(1, image_size + 1) if image_size % patch == 0]
    if asked != "auto":
        if asked not in divisors:
            raise UserError(
                f"encoder.patch is {asked} px, which does not divide images of {image_size} px. Set encoder.patch to "
                f"auto or to one of {', '.join(map(str, divisors))}, or change prepare.image_size."
            )
        return asked
    usual = 4 if image_size < 64 else 8 if image_size <= 128 else 16
    fitting = [patch for patch in divisors if FEWEST <= image_size // patch <= MOST]
    if not fitting:
        raise UserError(
            f"encoder.patch is auto, and no size of a patch cuts images of {image_size} px into {FEWEST**2} to "
            f"{MOST**2} patches. Set prepare.image_size to a multiple of {FEWEST}, or give encoder.patch."
        )
    return min(fitting, key=lambda patch: (abs(patch - usual), -patch))


class VisionTransformer(TokenEncoder):
    """A vision transformer (Dosovitskiy 2021) with a class token and learnt positions; no dropout, no drop path.

    Images of other sizes than `image_size` get resampled positions, and are padded with the data set's mean colour to
    whole patches. All maps are taken behind the network's last norm, the last one as `encode` gives it.
    """

    def __init__(self, params: EncoderParams, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std, image_size)
        design, depth = DESIGNS[params.name], params.depth or DEPTH
        self.patch = patch_size(params.patch, image_size)
        self.network = timm_network(params.name, image_size, self.patch, design, depth)
        self.prefix, self.class_token = self.network.num_prefix_tokens, True
        self.dim = design.width
        ends = sorted({-(-depth * quarter // STAGES) for quarter in range(1, STAGES + 1)})
        self.channels = {f"block{end}": design.width for end in ends}

    def embed(self, images: Tensor) -> Tensor:
        """Tokens (B, N, D) of the patches of images (B, 3, H, W), row by row, with their positions added."""
        network = self.network
        tokens: Tensor = network._pos_embed(network.patch_embed(self.normalise(images)))
        return tokens[:, self.prefix :]

    def encode(self, tokens: Tensor) -> Tensor:
        """Any n tokens of `embed` through all blocks and the last norm: (B, 1 + n, D), the class token in front."""
        encoded: Tensor = self.network.norm(self.network.blocks(self._with_prefix(tokens)))
        return encoded

    def _with_prefix(self, tokens: Tensor) -> Tensor:
        first = self.network.cls_token + self.network.pos_embed[:, : self.prefix]
        return torch.cat([first.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], 1)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (B, D, h, w) after every quarter of the blocks, by the number of blocks: block3, block6, ..."""
        return self.outputs(x)[0]

    def outputs(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """See `Encoder.outputs`."""
        height, width = (-(-side // self.patch) for side in x.shape[2:])
        tokens, maps, begin = self._with_prefix(self.embed(x)), {}, 0
        for name in self.channels:
            end = int(name.removeprefix("block"))
            tokens, begin = self.network.blocks[begin:end](tokens), end
            normed = self.network.norm(tokens)
            maps[name] = normed[:, self.prefix :].transpose(1, 2).unflatten(2, (height, width))
        return maps, normed[:, 0]


def timm_network(name: str, image_size: int, patch: int, design: Design, depth: int) -> Any:
    """timm's VisionTransformer without a classifier; weights are drawn from torch's global generator.

    Raises:
        UserError: timm is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise UserError(
            f"encoder.name {name!r} needs timm, which is not installed. Install it: uv sync --extra encoders."
        )
    from timm.models.vision_transformer import VisionTransformer as Network

    return Network(
        img_size=image_size,
        patch_size=patch,
        num_classes=0,
        embed_dim=design.width,
        depth=depth,
        num_heads=design.heads,
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )
