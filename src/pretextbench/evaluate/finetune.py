"""Fine-tuning: the whole network on a labelled subset, one recipe for every encoder, stopped by validation.

A linear layer on the pooled last stage, which starts as the linear probe of the frozen features (Kumar 2022: a head
that starts from nothing pulls the features out of shape first); cross-entropy; AdamW with a warm-up and a cosine to
zero; batches of 128 (of all there is, where that is less); every parameter and every batch norm moves. The images are
cropped and flipped and no more, as in SimCLR's appendix B.5 (Chen 2020; it has SGD and no weight decay). Training is
counted in images seen, not in passes, as in Kornblith 2019: few labels are seen more often.

Before the first step and ten times in the course of it the network is judged on validation images. The weights of the
best time are kept, and six times in a row without a better one end the training; with four, the dip after the warm-up
ended some that would have come out best. Validation is

    all labels        the validation split, as for every other choice in this protocol;
    a few labels      a stratified fifth of those few, which the network is then not trained on. The whole validation
                      split would be more labels than the budget grants (Oliver 2018, section 4.6). A class of fewer
                      than five labels gives none of them; if no class gives any, the last weights are kept.

Order, augmentation and fifth depend on (evaluate.seed, name) alone: every encoder is tuned on the same draws. All of it
is float32, as the features of the probes are: what an encoder is worth must not depend on the machine that judges it.
"""

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import label_budgets, linear
from pretextbench.evaluate.cross_validation import FOLDS, Ints, folds
from pretextbench.evaluate.features import frozen
from pretextbench.evaluate.probes import Prediction
from pretextbench.methods.controls import Supervised, SupervisedParams
from pretextbench.params import Evaluate, OptimizerParams
from pretextbench.train import optim
from pretextbench.train.batches import Batches, Order

ABSENT = -30.0  # logit of a class without an example, which the probe gives probability 0
Floats = npt.NDArray[np.float64]
BATCH, WARMUP, WEIGHT_DECAY = 128, 0.1, 0.02
POINTS, PATIENCE = 10, 6  # times that validation is asked; times in a row without a better answer that end it


@dataclass(frozen=True)
class Tuned:
    """Predictions of a fine-tuned network, and the course of its training."""

    probabilities: Floats  # (n, K): of every test image
    labels: int  # labelled training images that it was given, those it was validated on among them
    history: tuple[tuple[int, float], ...]  # (images seen, accuracy on validation); empty without validation
    best_at: int  # images seen when the kept weights were reached
    stopped: bool  # before the end of the schedule

    @property
    def prediction(self) -> Prediction:
        """Of every test image."""
        return Prediction.of(torch.from_numpy(self.probabilities))


@dataclass(frozen=True)
class Part:
    """Labelled images: some rows of a split."""

    images: npt.NDArray[np.uint8]  # (n, H, W, 3), of the split
    rows: Ints  # (m,), into it
    labels: Tensor  # (m,)


@dataclass
class Watch:
    """The best weights so far."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    merit: tuple[float, float] = (-1.0, 0.0)  # accuracy, then minus the loss: ties go to the lower one
    best_at: int = 0  # images
    history: list[tuple[int, float]] = field(default_factory=list)
    idle: int = 0  # times in a row without a better answer

    def see(self, images: int, accuracy: float, loss: float, network: nn.Module) -> bool:
        """Take one answer of validation; whether it was the last that is needed."""
        self.history.append((images, accuracy))
        if (accuracy, -loss) > self.merit:
            self.merit, self.best_at, self.idle = (accuracy, -loss), images, 0
            self.weights = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            self.idle += 1
        return self.idle == PATIENCE


def finetune(
    encoder: Encoder,
    data: Prepared,
    features: Tensor,
    rows: Tensor,
    labels: Tensor,
    params: Evaluate,
    device: torch.device,
    name: str,
) -> Tuned:
    """Train a copy of the encoder on some labelled training images, and predict the test split.

    Test images are read after the last choice and their labels never. The state of torch's generator is left alone.

    Args:
        encoder: as pretrained; its weights and modes are left as they were.
        data: opened with its labels. Those of "val" are read, and only when `rows` is all there is.
        features: (n, dim) of the training split, the frozen encoder's own output.
        rows: (m,) of the training split, that may be learnt from; those labelled -1 are left out.
        labels: (n,) int64 of the training split, -1 unlabelled.
        device: where the network runs.
        name: of the draw, such as budget and redraw; it seeds order, augmentation and fifth. Not the method's.

    Raises:
        UserError: fewer than two classes among the rows, or training diverged; names the learning rate.
    """
    rows = rows[labels[rows] >= 0]
    if (classes := len(labels[rows].unique())) < 2:
        raise UserError(f"Fine-tuning needs labelled training images of two classes or more; found {classes}.")
    seed = Seed(Seed(params.seed).key("finetune", name))
    learn, held = divide(data, rows, labels, seed)
    start = label_budgets.few(
        features[learn.rows], learn.labels, len(data.classes), params, (f"finetune {name}", 0), device
    )
    return replace(train_copy(encoder, start, data, (learn, held), params, seed, device), labels=len(rows))


def train_copy(
    encoder: Encoder,
    start: linear.Model | int,
    data: Prepared,
    parts: tuple[Part, Part],
    params: Evaluate,
    seed: Seed,
    device: torch.device,
) -> Tuned:
    """Train a copy of the encoder on the first part, as far as the second lets it, and predict the test split.

    Args:
        start: the probe that the head begins as; or the number of classes, for a head that begins as torch draws it.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed.key("head"))
        head = nn.Linear(encoder.dim, start) if isinstance(start, int) else _head(start)
        network = nn.Sequential(copy.deepcopy(encoder), head).requires_grad_(True)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        watch = _train(network, *parts, data.image_size, params, seed, device)
    network.load_state_dict(watch.weights)
    test = data.images("test")
    p = logits(network, test, np.arange(len(test)), params, device).double().softmax(1)
    return Tuned(p.numpy(), len(parts[0].rows), tuple(watch.history), watch.best_at, watch.idle == PATIENCE)


def divide(data: Prepared, rows: Tensor, labels: Tensor, seed: Seed) -> tuple[Part, Part]:
    """The training and validation examples of a fine-tuning: see the top of this file."""
    train, truth = data.images("train"), labels[rows]
    if len(rows) == int((labels >= 0).sum()):
        val = torch.from_numpy(np.array(data.labels("val")))
        known = val >= 0
        held = Part(data.images("val"), np.flatnonzero(known.numpy()), val[known])
        return Part(train, rows.numpy(), truth), held
    fold = torch.from_numpy(folds(truth.numpy(), seed.numpy("folds")))
    out = (fold == 0) & (truth.bincount()[truth] >= FOLDS)
    return Part(train, rows[~out].numpy(), truth[~out]), Part(train, rows[out].numpy(), truth[out])


def _head(start: linear.Model) -> nn.Linear:
    """A head that predicts what the probe predicts."""
    weight = start.weight / start.std[:, None]  # (dim, classes): of features that are not standardised
    head = nn.Linear(*weight.shape)
    with torch.no_grad():
        head.weight.copy_(weight.T)
        head.bias.copy_(start.bias.clamp_min(ABSENT) - start.mean @ weight)
    return head


def _train(
    network: nn.Sequential, learn: Part, held: Part, size: int, params: Evaluate, seed: Seed, device: torch.device
) -> Watch:
    """Move the network through its schedule, or as far as validation lets it."""
    batch = min(BATCH, len(learn.rows))  # two at least, and each is full: one image is too few for a batch norm
    steps = max(1, params.finetune_images // batch)
    schedule = OptimizerParams(name="adamw", lr=params.finetune_lr, weight_decay=WEIGHT_DECAY, warmup=WARMUP)
    optimizer = optim.build(network.parameters(), schedule, undecayed=optim.exempt(network))
    augmenter = Augmenter(Supervised.recipe(SupervisedParams(), size), size)
    order, batches, truth = Order(len(learn.rows), batch, seed), Batches(learn.images, device, "auto"), learn.labels
    due, watch = {round(steps * k / POINTS) for k in range(1, POINTS + 1)}, Watch()
    if len(held.rows):
        watch.see(0, *validate(network, held, params, device), network)
    network.train()
    for step in range(steps):
        torch.manual_seed(seed.key("step", step))
        optim.set_rate(optimizer, optim.rate(step, steps, schedule))
        index = order[step]
        (view,) = augmenter(as_float(batches.take(learn.rows[index])))
        loss = F.cross_entropy(network(view), truth[torch.from_numpy(index)].to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in due:
            _check_finite(loss, params)  # not at every step: reading makes a GPU wait, and NaN stays NaN
            if len(held.rows) and watch.see((step + 1) * batch, *validate(network, held, params, device), network):
                return watch
    return watch if len(held.rows) else Watch(network.state_dict(), best_at=steps * batch)


def validate(network: nn.Module, held: Part, params: Evaluate, device: torch.device) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in nats."""
    outputs = logits(network, held.images, held.rows, params, device)
    return float((outputs.argmax(1) == held.labels).double().mean()), float(F.cross_entropy(outputs, held.labels))


def logits(
    network: nn.Module, images: npt.NDArray[np.uint8], rows: Ints, params: Evaluate, device: torch.device
) -> Tensor:
    """(m, classes) on the CPU: evaluation mode, no gradients, no augmentation.

    Raises:
        UserError: they are not finite.
    """
    with frozen(network):
        parts = [
            network(as_float(torch.from_numpy(images[rows[start : start + params.batch_size]]).to(device))).cpu()
            for start in range(0, len(rows), params.batch_size)
        ]
    outputs = torch.cat(parts)
    _check_finite(outputs, params)
    return outputs


def _check_finite(values: Tensor, params: Evaluate) -> None:
    if not values.isfinite().all():
        raise UserError(
            f"Fine-tuning diverged: its loss is no longer a number, at a learning rate of "
            f"{params.finetune_lr:g}. Lower evaluate.finetune_lr."
        )
