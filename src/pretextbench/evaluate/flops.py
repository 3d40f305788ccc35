"""What one image costs on its way through an encoder."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import frozen


def forward_flops(encoder: Encoder, image_size: int, device: torch.device) -> int:
    """Floating point operations of one image's forward pass, a multiply and an add counted as two (torch's counter).

    Products of matrices and convolutions are counted; sums, norms and activations, a few percent, are not.
    """
    with frozen(encoder), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops())
