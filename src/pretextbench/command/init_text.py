"""What `init` found and what it expects, in words: counts of a folder, durations, sizes."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from pretextbench.command.console import plain
from pretextbench.command.estimate import Estimate
from pretextbench.command.sizes import size
from pretextbench.command.survey import Survey

LEAST, MOST = 0.6, 1.6  # of the estimate: chosen, from two runs on a machine that others used
SHOWN = 5  # unreadable files and classes that are named


def found_in_words(found: Survey) -> Iterator[str]:
    """What the folder holds."""
    sizes = [found.short_side(q) for q in (0, 0.5, 1)]
    splits = ", ".join(f"{n:,} {split}" for split, n in found.splits.items()) if len(found.splits) > 1 else "no splits"
    yield (f"{plain(found.root)}: {found.images:,} images ({splits}); {found.ignored:,} other files passed over")
    yield (f"shorter side {sizes[0]} to {sizes[2]} px, {sizes[1]} in the middle")
    for what in ("format", "mode"):
        yield (f"{what}s: {_counts(found, what)}")
    yield (_classes(found))
    if found.images > found.sampled:
        yield (f"(sizes, formats, modes, unreadable files and near duplicates: of {found.sampled} images)")
    if found.refused:
        yield (f"{len(found.refused)} of {found.sampled} files cannot be read:")
        for file, reason in found.refused[:SHOWN]:
            yield (f"  {plain(file)}: {plain(reason)}")
    else:
        yield (f"unreadable: none of {found.sampled}")
    yield (
        f"duplicates: {found.copies:,} of {found.hashed:,} byte for byte, {found.near:,} of {found.halves[0]:,} nearly"
    )


def _counts(found: Survey, what: str) -> str:
    counts = Counter(getattr(header, what) for header in found.headers)
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _classes(found: Survey) -> str:
    if not found.classes:
        return "labels: none, so methods are compared by label-free measures (one folder per class would be labels)"
    by_size = sorted(found.classes, key=lambda name: -found.classes[name])
    shown = [f"{plain(name)} {found.classes[name]:,}" for name in by_size[:SHOWN]]
    more = f", ... {plain(by_size[-1])} {found.classes[by_size[-1]]:,}" if len(by_size) > SHOWN else ""
    loose = f"; {found.unlabelled:,} without a label" if found.unlabelled else ""
    return f"labels: {len(by_size)} classes: {', '.join(shown)}{more}{loose}"


def cost_in_words(cost: Estimate, place: Path) -> Iterator[str]:
    """Time, memory and disk, for people."""
    each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in cost.training.items() if seconds)
    times = f" x {cost.seeds} seeds" if cost.seeds > 1 else ""
    load = os.getloadavg()[0]
    yield (
        f"\nTime: about {duration(cost.seconds)} on this machine, as busy as it is now (load {load:.1f}); take it as "
        f"{duration(cost.seconds * LEAST)} to {duration(cost.seconds * MOST)}."
    )
    yield f"  training {each}{times}"
    yield f"  evaluation {duration(cost.evaluation)} for each of them{times}; all the rest {duration(cost.rest)}"
    if load > (os.cpu_count() or 1) + 1:
        yield "  other programs are at work here: when they rest it will be less, when more begin, more."
    memory = psutil.virtual_memory()
    yield f"Memory: about {size(cost.memory)} per stage; {size(memory.available)} of {size(memory.total)} are free."
    if cost.device_memory:
        yield f"On the GPU: about {size(cost.device_memory)}."
    free = shutil.disk_usage(place).free
    yield f"Disk: about {size(cost.disk)}; {size(free)} are free."
    if cost.memory > memory.available or cost.disk > free:
        yield "warning: that is more than there is. Lower prepare.image_size, prepare.max_images or the batch size."


def duration(seconds: float) -> str:
    """5 s, 4 min, 3.2 h, 2.5 days."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "days"):
            value = seconds / length
            return f"{value:.0f} {unit}" if value >= 10 or unit == "min" else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s"
