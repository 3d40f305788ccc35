"""Patches of images: cut and joined, hidden at random in exact numbers, and decoded from tokens (He 2022)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pretextbench.encoder import TokenEncoder
from pretextbench.errors import UserError

HEAD = 32  # dimensions of an attention head of the decoder, as in the paper (512 in 16 heads)


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images (B, C, H, W) to patches (B, N, patch^2 C): patches row by row, each row by row, its channels last.

    H and W are multiples of `patch`, in pixels; N = (H / patch)(W / patch).
    """
    b, c, h, w = images.shape
    cut = images.reshape(b, c, h // patch, patch, w // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, patch * patch * c)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify` for square images: (B, N, patch^2 C) to (B, C, H, H)."""
    b, n, values = patches.shape
    grid, c = math.isqrt(n), values // patch**2
    cut = patches.reshape(b, grid, grid, patch, patch, c)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(b, c, grid * patch, grid * patch)


class Mask(NamedTuple):
    """Which patches of each image are visible and which are hidden, by number."""

    visible: Tensor  # (B, K) int64
    hidden: Tensor  # (B, N - K) int64

    def restore(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """Tokens (B, K, D) of the visible and (B, N - K, D) of the hidden patches: (B, N, D) in the patches' order."""
        places = torch.cat(self, 1).argsort(1)
        return take(torch.cat([visible, hidden], 1), places)


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens (B, n, D) at `places` (B, n) of (B, N, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def visible_patches(method: str, patches: int, share: float) -> int:
    """The number of patches that are left visible when a share of them is hidden: the whole part of (1 - share) N.

    Raises:
        UserError: none is visible, or none is hidden.
    """
    visible = int((1 - share) * patches + 1e-6)  # 0.9 of 100 leave 10, and not the 9 of 9.999...
    if not 0 < visible < patches:
        left = "none visible" if not visible else "none hidden"
        raise UserError(
            f"Method {method!r} hides a share of {share:g} of the {patches} patches of an image, which leaves {left}. "
            f"Set `share` between {1 / patches:.3g} and {1 - 1 / patches:.3g}, or lower encoder.patch."
        )
    return visible


def random_mask(images: int, patches: int, visible: int, device: torch.device) -> Mask:
    """Of each image's patches `visible` are drawn without replacement, the others are hidden."""
    order = torch.rand(images, patches, device=device).argsort(1)
    return Mask(order[:, :visible], order[:, visible:])


class TokenDecoder(nn.Module):
    """From the visible tokens of an encoder to values of every patch: a light transformer, thrown away after training.

    A linear layer to `width`; one learnt token in the place of each hidden patch; fixed positions (sines and cosines of
    row and column); `depth` blocks of timm's; a norm and a linear layer. `width` is a multiple of 32.
    """

    positions: Tensor  # (N, width)

    def __init__(self, encoder: TokenEncoder, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed  # here: only token encoders need timm
        from timm.models.vision_transformer import Block

        self.prefix = encoder.prefix
        self.embed = nn.Linear(encoder.dim, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        positions = build_sincos2d_pos_embed([encoder.grid, encoder.grid], width)
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = nn.Sequential(*(Block(width, width // HEAD, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that are not decayed."""
        return {"mask_token"}

    def forward(self, encoded: Tensor, mask: Mask) -> Tensor:
        """Encoded visible tokens with their prefix, (B, prefix + K, D), to values (B, N, outputs) of all patches."""
        tokens = self.embed(encoded)
        prefix, visible = tokens[:, : self.prefix], tokens[:, self.prefix :]
        hidden = self.mask_token.to(tokens.dtype).expand(*mask.hidden.shape, -1)
        placed = mask.restore(visible, hidden) + self.positions.to(tokens.dtype)
        decoded = self.norm(self.blocks(torch.cat([prefix, placed], 1)))
        values: Tensor = self.last(decoded[:, self.prefix :])
        return values
