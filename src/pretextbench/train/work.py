"""Work that a training does per image: views, and multiply-adds of its forward passes, by torch's counter.

Equal images are not equal work: methods with many crops see an image six to eight times, rotation encodes it four
times, and a twin encodes every view once more. Products of matrices and convolutions are counted; sums, norms and
activations, a few percent, are not, and neither is the backward pass, about twice the forward one.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import torch

from pretextbench.augment.pipeline import Augmenter
from pretextbench.train.batches import send_to_device

if TYPE_CHECKING:
    from pretextbench.train.loop import Training


class Work(NamedTuple):
    """Work per image."""

    views: int = 0  # that the recipe draws of an image; 0 where nothing is trained
    encoder: int = 0  # multiply-adds of one pass through the encoder, at the size of the images
    training: int = 0  # multiply-adds of the forward passes of a training step: all views, heads, twins and players


def measure(training: "Training") -> Work:
    """Count on random pixels; all processes of a training call it together. The training is left as it was."""
    encoder, side = training.method.encoder, training.method.data.image_size
    image = torch.zeros(1, 3, side, side, device=training.fabric.device)
    mode = encoder.training
    one = multiply_adds(lambda: encoder.eval()(image))
    encoder.train(mode)
    if not training.players:
        return Work(encoder=one)
    return Work(sum(view.draws for view in training.job.recipe.views), one, _step(training))


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of a call without gradients: half of the floating point operations that torch counts."""
    from torch.utils.flop_counter import FlopCounterMode  # here: it imports triton, see `stages.start.work`

    with torch.no_grad(), torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops()) // 2


def _step(training: "Training") -> int:
    """Multiply-adds of the turns of all players on a part of the first batch, per image."""
    device, side = training.fabric.device, training.method.data.image_size
    index = training.share(0)
    index = index[: len(index) // training.job.pretrain.accumulate]
    state = {name: tensor.clone() for name, tensor in training.method.state_dict().items()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        views = Augmenter(training.job.recipe, side)(torch.rand(len(index), 3, side, side, device=device))
        number, scratch = send_to_device(index, device), SimpleNamespace()
        total = multiply_adds(
            lambda: [training.turn(views, number, 0.0, player.name, scratch) for player in training.players]
        )
    training.method.load_state_dict(state)
    return total // len(index)
