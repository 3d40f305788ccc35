"""What a training step asks of its device, without making a GPU wait or the processor search."""

import numpy as np
import torch
from torch import Tensor


def send(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Numbers (B,) on the device; to a GPU from pinned memory: from other memory CUDA first waits for its work."""
    here = torch.from_numpy(numbers)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here


def seed(key: int, device: torch.device) -> None:
    """torch.manual_seed for the processor and one device; torch's own looks for devices of every kind, each time."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(key)
