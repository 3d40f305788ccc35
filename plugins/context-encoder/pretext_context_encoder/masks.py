"""Which part of an image is missing: central square, random blocks, random regions. One draw per image, not per batch.

A region is bool (B, 1, H, H), True where the image is to be predicted (the paper's M^ = 1; the lesson's B = 0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

AREA, AREA_MIN, AREA_MAX = 0.25, 0.2, 0.3  # share of the image: of the whole bank, and of every mask in it
HALO = 2  # cells that the bicubic kernel reaches beyond its own


def central(images: int, size: int, device: torch.device) -> Tensor:
    """The square of half the side in the middle: a quarter of the image; 8 to 23 of 0 to 31."""
    region = torch.zeros(images, 1, size, size, dtype=torch.bool, device=device)
    region[:, :, size // 4 : size // 4 + size // 2, size // 4 : size // 4 + size // 2] = True
    return region


def blocks(images: int, size: int, share: float, count: int, device: torch.device) -> Tensor:
    """The union of `count` squares of side `share` H, at least a pixel, which lie inside the image and may overlap.

    Five of a quarter of the side cover 26.6 % on average at 32 px (standard deviation 2.8 %).
    """
    side = min(size, max(1, round(share * size)))
    corner = torch.randint(size - side + 1, (2, images, count, 1), device=device)  # top, left
    line = torch.arange(size, device=device)
    rows, columns = (line >= corner) & (line < corner + side)  # each (B, count, H)
    region: Tensor = (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True)  # (B, 1, H, H)
    return region


def smooth_noise(fields: int, size: int, cells: int) -> Tensor:
    """Uniform noise on a torus of cells x cells, enlarged bicubically: (fields, H, H). Shifts of it have no seams."""
    noise = F.pad(torch.rand(fields, 1, cells, cells), (HALO,) * 4, mode="circular")
    line = (torch.arange(size) + 0.5) * cells / size + HALO  # position of each pixel's centre, in cells
    across = 2 * line / (cells + 2 * HALO) - 1  # as grid_sample counts: -1 to 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    where = torch.stack([x, y], -1).expand(fields, -1, -1, -1)
    return F.grid_sample(noise, where, mode="bicubic", align_corners=False)[:, 0]


def bank(masks: int, size: int, cells: int) -> Tensor:
    """Irregular shapes that have nothing to do with any image: bool (masks, H, H), from torch's global generator.

    Smooth noise below its empirical 25 % quantile, where that is 20 to 30 % of the mask. (The reference code compares
    with 0.25 itself, but enlarging narrows the noise, so that it gets 17 to 18 %.) On very small images, where few
    shapes hit the range, the nearest ones fill the bank.
    """
    field = smooth_noise(2 * masks, size, cells)
    threshold = field.flatten().kthvalue(max(1, round(AREA * field.numel()))).values
    shapes = field <= threshold
    area = shapes.float().mean((1, 2))
    outside = (AREA_MIN - area).clamp_min(0) + (area - AREA_MAX).clamp_min(0)  # 0 for those in range
    return shapes[outside.argsort(stable=True)[:masks]]


def regions(bank: Tensor, images: int) -> Tensor:
    """For each image one mask of the bank (M, H, H), flipped, turned by a multiple of 90 degrees and shifted at random.

    The masks are tori, so that a shift by any number of pixels keeps shape and area.
    """
    masks, size, device = bank.shape[0], bank.shape[1], bank.device
    pick = torch.randint(masks, (images, 1, 1), device=device)
    turn, *sign = (torch.rand(3, images, 1, 1, device=device) < 0.5).unbind()
    shift = torch.randint(size, (2, images, 1, 1), device=device)
    line = torch.arange(size, device=device)
    i, j = line[None, :, None], line[None, None, :]
    rows, columns = torch.where(turn, j, i), torch.where(turn, i, j)  # a transpose and two flips: all 8 symmetries
    rows = (torch.where(sign[0], -rows, rows) + shift[0]) % size
    columns = (torch.where(sign[1], -columns, columns) + shift[1]) % size
    return bank[pick, rows, columns][:, None]


def overlap(region: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Split a region into the hole and a band of `width` pixels along its border: (hole, band), bool like `region`.

    The band is predicted like the hole, yet the encoder sees it: it ties the prediction to its surroundings. Only what
    touches visible pixels is border, the edge of the image is not. A region that would be all band keeps no band.
    """
    if width == 0:
        return region, torch.zeros_like(region)
    visible = (~region).float()
    hole = F.max_pool2d(visible, 2 * width + 1, stride=1, padding=width) == 0
    hole = torch.where(hole.any(3, keepdim=True).any(2, keepdim=True), hole, region)
    return hole, region & ~hole
