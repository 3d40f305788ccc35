"""SimCLR of a maintained peer, lightly, as its documentation runs it, against this loop: same network, batch, machine.

lightly's part is its own: SimCLRTransform (PIL, in worker processes), SimCLRProjectionHead, NTXentLoss, SGD, float32,
channels first (docs/source/examples/simclr, CIFAR-10 settings: 32 px, no blur). The encoder is ours, ResNet-18 with the
small stem, so that both train the same network; the head differs by a batch norm.
"""

from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import Measure, Missing, alternate, ratio, spread
from benchmarks.loops import Case, looped, pixels, training
from pretextbench.train.batches import Batches

CASE = Case("simclr", "resnet18", 64)
STEPS, WORKERS = 2, 2


class Photos(Dataset):
    """PIL images through lightly's transform: two views each."""

    def __init__(self, images: list[Image.Image], transform: Callable[[Image.Image], list[torch.Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.transform(self.images[index])


def measure(rounds: int) -> Iterator[Measure]:
    """Images per second of both, and the ratio."""
    lightly = peer()
    images = pixels(CASE)
    run = training(CASE, images)
    library = looped(run, Batches(images, run.fabric.device, "auto"), STEPS)
    times = alternate({"ours": library, "lightly": lightly}, min(rounds, 5))
    for name, column in times.items():
        yield spread(f"{CASE}: {name}", [STEPS * CASE.batch / seconds for seconds in column], "images/s")
    yield ratio(f"{CASE}: ours", times["lightly"], times["ours"], "times lightly's recipe", at_least=2.5)


def peer() -> Callable[[], None]:
    """STEPS steps of lightly's recipe.

    Raises:
        Missing: lightly is not installed.
    """
    try:
        from lightly.loss import NTXentLoss  # in the dev group only
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform
    except ImportError as error:
        raise Missing(f"lightly ({error}); `uv sync` installs it") from error
    encoder = training(CASE, pixels(CASE)).method.encoder.float().to(memory_format=torch.contiguous_format)
    net = nn.Sequential(encoder, SimCLRProjectionHead(encoder.dim, encoder.dim, 128))
    loss, optimizer = NTXentLoss(), torch.optim.SGD(net.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    photos = [Image.fromarray(image) for image in pixels(CASE, (STEPS + 1) * CASE.batch)]
    transform = SimCLRTransform(input_size=CASE.size, gaussian_blur=0.0)
    loader = DataLoader(
        Photos(photos, transform), CASE.batch, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )
    stream = iter(())

    def work() -> None:
        nonlocal stream
        for _ in range(STEPS):
            batch = next(stream, None)
            if batch is None:  # the next epoch
                stream = iter(loader)
                batch = next(stream)
            first, second = (net(view) for view in batch)
            value = loss(first, second)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    return work
