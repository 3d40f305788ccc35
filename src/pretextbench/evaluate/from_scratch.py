"""Training from scratch on a few labels: the alternative to pretraining for a person who has no more than these.

An untrained encoder and a new head are trained on one of the subsets of the label budgets, by the recipe of fine-tuning
but for three things. All the labels are learnt from, since a fifth of a few is too few to stop by: the training runs to
its end, as long for every subset. The head starts from nothing, as there are no features worth a probe. The learning
rate is that of the control `supervised`: with the lower one of fine-tuning, 600 labels of the built-in data gave 38 %
instead of 54 %.
"""

import torch
from torch import Tensor

from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate.finetune import Part, Tuned, train_copy
from pretextbench.methods.controls import SupervisedParams
from pretextbench.params import Evaluate


def from_scratch(
    encoder: Encoder, data: Prepared, rows: Tensor, labels: Tensor, params: Evaluate, device: torch.device, name: str
) -> Tuned:
    """Train a copy of an untrained encoder on labelled training images, and predict the test split.

    Args:
        encoder: its weights and modes are left as they were.
        data: of its labels none is read.
        rows: (m,) of the training split, each with a label.
        labels: (n,) int64 of the training split.
        device: where the network runs.
        name: of the draw; it seeds head, order and augmentation.

    Raises:
        UserError: the training diverged.
    """
    train, none = data.images("train"), rows[:0]
    learn, held = Part(train, rows.numpy(), labels[rows]), Part(train, none.numpy(), labels[none])
    seed, rate = Seed(Seed(params.seed).key("scratch", name)), SupervisedParams().optimizer.lr
    params = params.model_copy(update={"finetune_lr": rate})
    try:
        return train_copy(encoder, len(data.classes), data, (learn, held), params, seed, device)
    except UserError as error:
        raise UserError(
            f"Training from scratch diverged: its loss is no longer a number, at a learning rate of {rate:g}. Take the "
            "budget out of evaluate.scratch."
        ) from error
