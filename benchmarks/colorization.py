"""Cost of colorization's targets and loss, as a share of its own training step; the limit is 15 %.

    uv run python -m benchmarks.colorization [--rounds 15] [--threads 1]

A step is forward, backward and update of the default network under bf16, without augmentation, which would only make
the share look smaller. Lab, soft code and loss, down to the gradient of the decoder's output, are timed alone on the
same images, in the same process, in alternation; medians of both and the quartiles of the pairwise ratios are printed.
The clock is the CPU time at one thread, which neighbours on the machine do not stretch, and the wall above that.
Freed memory stays with the process, as in a stage.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pretextbench import registry
from pretextbench.augment.pipeline import Augmenter
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.train import optim
from stages.lifecycle import keep_freed

BATCH = 128  # images per step
Run = Callable[[], object]


def built(size: int, variant: str) -> Any:
    """The method with its defaults on the default encoder."""
    method = registry.load("colorization")
    params = method.Params(variant=variant)
    derived = method.derive(params, iter([torch.rand(BATCH, 3, size, size)]), size)
    facts = Data(size, (0.5,) * 3, (0.25,) * 3, BATCH, derived)
    net = method.build_encoder(params, EncoderParams(), facts)
    return method(params, net, facts).to(memory_format=torch.channels_last).train()


def step(model: Any, x: Tensor) -> Run:
    """A whole training step, without augmentation."""
    optimizer = optim.build(model.parameters(), model.params.optimizer)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(Batch((x,), torch.arange(BATCH)))
        loss.total.backward()
        optimizer.step()

    return run


def targets_and_loss(model: Any, x: Tensor) -> Run:
    """Lab, code, weights, loss and its gradient, from a decoder output that is already there."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = model.predict(x, model.target(x).size)
    out.requires_grad_()
    lab = sys.modules["pretext_colorization.lab"]

    def run() -> None:
        out.grad = None
        with torch.no_grad():
            lab.lightness(x)  # which the encoder makes itself
        error, weight = model.errors(out, model.target(x))
        (error * weight).mean().backward()

    return run


def prepared(size: int, variant: str) -> tuple[Run, Run, Run]:
    """The three things to time: a step, its targets and loss, its augmentation."""
    model, pixels = built(size, variant), torch.rand(BATCH, 3, size, size)
    augmenter = Augmenter(model.recipe(model.params, size), size)
    x = augmenter(pixels)[0]
    return step(model, x), targets_and_loss(model, x), lambda: augmenter(pixels)


def milliseconds(run: Run) -> float:
    """Time of one call."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return 1e3 * (clock() - start)


def main() -> None:
    """Print one row per size and variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args()
    keep_freed()
    torch.set_num_threads(words.threads)
    print("| image | variant | step ms | targets, loss ms | share (quartiles) | augmentation ms |")
    print("|---|---|---|---|---|---|")
    for size in (32, 96):
        for variant in ("classification", "regression"):
            runs = prepared(size, variant)
            times = [[milliseconds(run) for run in runs] for _ in range(words.rounds + 2)][2:]
            whole, part, augment = (statistics.median(column) for column in zip(*times, strict=True))
            low, middle, high = statistics.quantiles([b / a for a, b, _ in times], n=4)
            share = f"{middle:.1%} ({low:.1%}-{high:.1%})"
            print(f"| {size} px | {variant} | {whole:.1f} | {part:.1f} | {share} | {augment:.1f} |", flush=True)


if __name__ == "__main__":
    main()
