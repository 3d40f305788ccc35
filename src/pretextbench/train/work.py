"""Work of a training per image: views, and multiply-adds of its forward passes, by torch's counter.

Equal images are not equal work: methods with many crops see an image six to eight times, rotation encodes it four
times, and a twin encodes every view once more. Products of matrices and convolutions are counted; sums, norms and
activations, a few percent, are not, and neither is the backward pass, about twice the forward one.
"""

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from pretextbench.augment.pipeline import Augmenter
from pretextbench.params import Pretrain
from pretextbench.project import demands
from pretextbench.train.batches import send_to_device
from pretextbench.train.budget import Job, batch_size

if TYPE_CHECKING:
    from pretextbench.train.loop import Training

Built = TypeVar("Built", bound="Training")


class Work(NamedTuple):
    """Work per image."""

    views: int = 0  # that the recipe draws of an image; 0 where nothing is trained
    encoder: int = 0  # multiply-adds of one pass through the encoder, at the size of the images
    training: int = 0  # multiply-adds of the forward passes of a training step: all views, heads, twins and players


def counted(job: Job, build: Callable[[Job], Built]) -> Built:
    """The training of a job, with its work measured and its budget in images.

    A budget in multiply-adds becomes the nearest number of whole steps. The count needs the networks, and a method may
    ask how many images it will see: so for such a budget they are built twice.

    Raises:
        UserError: the multiply-adds are fewer than those of one step.
    """
    training = build(job)
    training.work = work = measure(training)
    if job.pretrain.multiply_adds is None or not training.players:
        return training
    del training  # with its memory
    training = build(dataclasses.replace(job, pretrain=in_images(job, work)))
    training.work = work
    return training


def in_images(job: Job, work: Work) -> Pretrain:
    """The section `pretrain` with its budget of multiply-adds as images too: whole steps, rounded to the nearest.

    Raises:
        UserError: the multiply-adds are fewer than those of one step.
    """
    batch, given = batch_size(job), job.pretrain.multiply_adds or 0.0
    step = batch * work.training
    demands.refuse(demands.of_work({job.row or job.plugin.name: step}, given))
    return job.pretrain.model_copy(update={"images": batch * round(given / step)})


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
        torch.manual_seed(0)  # a budget may depend on the count: every seed and every process has the same
        views = Augmenter(training.job.recipe, side)(torch.rand(len(index), 3, side, side, device=device))
        number, scratch = send_to_device(index, device), SimpleNamespace()
        total = multiply_adds(
            lambda: [training.turn(views, number, 0.0, player.name, scratch) for player in training.players]
        )
    training.method.load_state_dict(state)
    return total // len(index)
