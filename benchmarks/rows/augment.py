"""Augmentation: the SimCLR recipe as it is drawn here, against torchvision v2 on tensors and on PIL images."""

from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torchvision.transforms import v2

from benchmarks.harness import Measure, Missing, alternate, ratio, spread
from benchmarks.loops import Case, pixels
from pretextbench import registry
from pretextbench.augment.pipeline import Augmenter, as_float

CASES = [Case("simclr", size=32, batch=128), Case("simclr", size=96, batch=32), Case("simclr", size=224, batch=16)]
GPU_CASES = [Case("simclr", size=32, batch=512), Case("simclr", size=96, batch=256), Case("simclr", size=224, batch=64)]


def measure(rounds: int) -> Iterator[Measure]:
    """Views per second of each, and the ratio; on a GPU first, where there is one."""
    if torch.cuda.is_available():
        for case in GPU_CASES:
            yield from compare(case, min(rounds, 3), torch.device("cuda"))
    for case in CASES:
        yield from compare(case, rounds, torch.device("cpu"))
    if not torch.cuda.is_available():
        raise Missing("no GPU: the rows of the GPU are not measured")


def compare(case: Case, rounds: int, device: torch.device) -> Iterator[Measure]:
    """Two views of every image, by each library."""
    images = pixels(case, case.batch)
    method = registry.load("simclr")
    augmenter = Augmenter(method.recipe(method.Params(), case.size), case.size)
    batch = torch.from_numpy(images).to(device)
    tensors = chain(case.size)
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: augmenter(as_float(batch)),
        "torchvision, tensors": lambda: [tensors(x) for x in as_float(batch) for _ in range(2)],
    }
    if device.type == "cpu":
        photos, after = [Image.fromarray(image) for image in images], chain(case.size, [v2.PILToTensor()])
        contestants["torchvision, PIL"] = lambda: torch.stack([after(photo) for photo in photos for _ in range(2)])
    times = alternate(contestants, rounds)
    setting = f"{case.size} px, {device.type}"
    yield spread(f"{setting}: ours", [2 * case.batch / seconds for seconds in times["ours"]], "views/s")
    for name in list(contestants)[1:]:
        yield ratio(f"{setting}: ours", times[name], times["ours"], f"times {name}")


def chain(size: int, last: list[v2.Transform] | None = None) -> v2.Compose:
    """Views of SimCLR as torchvision writes them, an image at a time, each its own draw; blur above 64 px, as here."""
    blur = [v2.RandomApply([v2.GaussianBlur(max(3, size // 10 // 2 * 2 + 1), (0.1, 2.0))], 0.5)] if size > 64 else []
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=False),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            *blur,
            *(last or []),
        ]
    )
