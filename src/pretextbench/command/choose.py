"""The values that `init` chooses for params.yaml, from a folder of images and a machine, each with its reason."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from pretextbench.command import choose_weights
from pretextbench.command.choose_weights import CONTINUED, CONTINUED_IMAGES, Proposal
from pretextbench.command.copies import near_warning
from pretextbench.command.cost import Profile
from pretextbench.command.survey import Survey
from pretextbench.command.template import Choice
from pretextbench.tune.halving import rounds

FIVE = ["simclr", "lejepa", "nnclr", "rotation", "moco"]  # four in front, and a cheap fifth: docs/results.md
SIX = ["simclr", "vicreg", "moco", "byol", "barlow-twins", "dino"]  # for long trainings on large images
USUAL = (0.1, 0.2)  # of train for validation, of all for test
FEW = 2000  # images below which the shares that validate and test are raised
TRIALS, FEW_TRIALS = 9, 6  # of each method, where it is tuned: rounds of 9 and 3
FIRST_ROUND, BATCH = 16, 256  # the first round has this part of the budget, in batches of the largest size
ROUND = 8  # image sizes are multiples of it: three stages halve the side

FEW_LABELS = 10  # images of the smallest label budget where labels are no classes
NO_WEIGHTS = Proposal()
SURER = ("one run of each method; for a reliable difference use three", "every training depends on chance")


@dataclass(frozen=True)
class Plan:
    """The numbers of a profile, before they are adapted to the images."""

    side: int  # pixels, at most
    images: int  # the budget
    passes: int  # over the training images, at most: Gidaris 2018 trains 200, Chen 2020 up to 1000
    batch: int
    most: int | None  # images of the folder, at most
    methods: list[str]
    seeds: list[int]
    encoder: tuple[str, int]  # name, width
    why: str
    tuned: bool = False  # whether the methods are tuned
    asked: bool = False  # whether the side was given, and is kept as it is


SMALL = ("resnet10", 16)
PLANS = {
    Profile.quick: Plan(
        32, 24_000, 200, 64, 10_000, ["simclr", "rotation"], [0], SMALL, "a first answer in minutes, on a CPU"
    ),
    Profile.standard: Plan(
        64, 100_000, 1000, 64, None, FIVE, [0, 1, 2], SMALL, "an answer to act on, overnight on a CPU", True
    ),
    Profile.gpu: Plan(
        128, 2_000_000, 1000, 256, None, SIX, [0, 1, 2], ("resnet18", 64), "the papers' network, on a GPU", True
    ),
    Profile.multi_gpu: Plan(
        128, 5_000_000, 1000, 512, None, SIX, [0, 1, 2], ("resnet18", 64), "the papers' network, on several GPUs"
    ),
}


def choose(
    survey: Survey,
    profile: Profile,
    path: str,
    gpus: int,
    layout: str = "auto",
    proposal: Proposal = NO_WEIGHTS,
    side: int | None = None,
) -> list[Choice]:
    """All choices, in the order of the file; `side`: of the images, in pixels, where it was given."""
    plan = PLANS[profile]
    if side is not None:
        plan = dataclasses.replace(plan, side=side, asked=True)
    if proposal.start:
        budget = min(plan.images, CONTINUED_IMAGES[profile])
        plan = dataclasses.replace(plan, images=budget, methods=CONTINUED[profile], why=f"{plan.why}; from weights")
    return [
        *_prepare(survey, plan, path, layout, proposal),
        *(pretraining := list(_pretrain(survey, plan, profile, gpus, proposal))),
        *_tune(survey, plan, pretraining),
        *_judged(survey, plan, proposal),
        *choose_weights.references(proposal),
    ]


def _prepare(survey: Survey, plan: Plan, path: str, layout: str, proposal: Proposal) -> Iterator[Choice]:
    yield Choice("prepare", "source", "folder", "your images")
    yield Choice("prepare", "path", path, f"{survey.images:,} images")
    if layout != "auto":
        yield Choice("prepare", "layout", layout, "the meaning of the folders, as it was given")
    yield _image_size(survey, plan, proposal)
    yield from _splits(survey)
    if plan.most and survey.images > plan.most:
        reason = f"{plan.most:,} of {survey.images:,}, drawn evenly, are enough for a first answer; null = all"
        yield Choice("prepare", "max_images", plan.most, reason)
    if survey.refused_share > 0.005:
        share = min(0.9, round(max(0.02, 2 * survey.refused_share), 2))
        reason = (
            f"{len(survey.refused)} of {survey.sampled} files looked at cannot be read; twice that share is let pass"
        )
        yield Choice("prepare", "max_refused", share, f"{reason}, and each is named in refused.csv")


def _image_size(survey: Survey, plan: Plan, proposal: Proposal) -> Choice:
    usual, fine = survey.short_side(0.5), survey.short_side(0.25)
    if plan.asked:
        return Choice("prepare", "image_size", plan.side, f"by --size; the median of the shorter sides is {usual} px")
    side = max(ROUND, min(plan.side, fine // ROUND * ROUND))
    if side == plan.side:
        reason = f"the median of the shorter sides of your images is {usual} px; {side} px are {plan.why}"
    else:
        reason = f"a quarter of your images is no larger than {fine} px: more would only enlarge them"
    side, reason = choose_weights.image_size(proposal, side, fine) or (side, reason)
    return Choice("prepare", "image_size", side, reason)


def _splits(survey: Survey) -> Iterator[Choice]:
    for split, usual, share in zip(("val", "test"), USUAL, shares(survey), strict=True):
        if share != usual and not survey.splits[split]:
            reason = f"{survey.images:,} images are few, and few held-out images make the intervals wide"
            yield Choice("prepare", f"{split}_fraction", share, f"raised from {usual:g}: {reason}")


def training_images(survey: Survey, most: int | None = None) -> int:
    """Images of the training split, about: without images that cannot be read."""
    val, test = shares(survey)
    share = min(1.0, (most or survey.images) / survey.images) * (1 - survey.refused_share)
    train = survey.splits["train"] * share
    train *= 1 if survey.splits["test"] else 1 - test
    train *= 1 if survey.splits["val"] else 1 - val
    return int(train)


def shares(survey: Survey) -> tuple[float, float]:
    """(val, test) that are held out where the folder has no such split."""
    return USUAL if survey.images >= FEW else (0.2, 0.3)


def _pretrain(survey: Survey, plan: Plan, profile: Profile, gpus: int, proposal: Proposal) -> Iterator[Choice]:
    train = training_images(survey, plan.most)
    name, width = plan.encoder
    yield from choose_weights.encoder(proposal)
    if plan.encoder != SMALL and not proposal.start:
        yield Choice("encoder", "name", name, plan.why)
        yield Choice("encoder", "width", width, "the papers' width")
    devices = max(2, gpus) if profile is Profile.multi_gpu else 1
    batch = _batch(plan.batch, train, devices)
    budget, worth = _budget(plan, profile, _image_size(survey, plan, proposal).value)
    images = min(budget, plan.passes * train)
    why = f"{images / max(1, train):,.1f} passes over about {train:,} training images; {plan.why}{worth}"
    yield Choice("pretrain", "images", images, why)
    if batch < plan.batch:
        yield Choice("pretrain", "batch_size", batch, f"at most half of the {train:,} training images, a power of two")
    elif batch != 64:
        yield Choice("pretrain", "batch_size", batch, "fills the device; learning rates are for 64 to 128, see methods")
    if devices > 1:
        yield Choice("pretrain", "devices", devices, f"one process per GPU; {gpus} found on this machine")


def _tune(survey: Survey, plan: Plan, pretraining: list[Choice]) -> Iterator[Choice]:
    """Trials for a profile that tunes, where there are labels to judge them by."""
    if not plan.tuned or len(survey.classes) < 2:
        return
    budget = next(choice.value for choice in pretraining if choice.key == "images")
    images = max(BATCH, budget // FIRST_ROUND // BATCH * BATCH)
    few = training_images(survey, plan.most) < BATCH  # then hardly more than one batch size can be tried
    trials = FEW_TRIALS if few else TRIALS
    reason = "the same number for every method, chosen on validation, so that none wins by its defaults; 0 = none"
    yield Choice("tune", "trials", trials, reason)
    share = sum(each.trials * each.images for each in rounds(trials, images, 3)) / budget
    yield Choice("tune", "images", images, f"all trials of a method see {share:.1f} times as many as one training")


def _budget(plan: Plan, profile: Profile, side: int) -> tuple[int, str]:
    """Images that the profile grants at a side, and a note: `quick` stays quick where weights ask for large images."""
    if profile is not Profile.quick or side <= plan.side:
        return plan.images, ""
    fair = plan.images * plan.side**2 // side**2 // 100 * 100
    return fair, f"; at {side} px they cost as much as {plan.images:,} at {plan.side} px"


def _batch(wanted: int, train: int, devices: int) -> int:
    """The largest power of two that is wanted and is at most half of the training images, so that batches differ."""
    batch = wanted
    while batch > 2 * devices and batch > train // 2:
        batch //= 2
    return batch


def _judged(survey: Survey, plan: Plan, proposal: Proposal) -> Iterator[Choice]:
    if survey.task != "class":
        reason = "shares of the labelled training images: these labels have no classes, of which each could give some"
        yield Choice("evaluate", "budgets", _shares(survey, plan), reason)
    if survey.classes and (budgets := _budgets(survey)) != ["5", "20", "1%", "10%"]:
        smallest = min(survey.classes.values())
        reason = f"those that the smallest class, {smallest} images, can give from its training share"
        yield Choice("evaluate", "budgets", budgets, reason)
    yield from choose_weights.methods(proposal, plan.methods, plan.why)
    yield from choose_weights.controls(proposal, bool(survey.classes), survey.task)
    if survey.task != "class" and not proposal.start:
        yield Choice("compare", "controls", ["random", "pixels"], choose_weights.NO_CLASSES)
    elif not survey.classes and not proposal.start:
        reason = "no `supervised`: it learns from labels, and these images have none; no `pixels`, which labels judge. "
        measures = "Methods are compared by label-free measures; see docs/protocol.md"
        yield Choice("compare", "controls", ["random"], f"{reason}{measures}")
    yield Choice("compare", "seeds", plan.seeds, SURER[len(plan.seeds) > 1])


def _budgets(survey: Survey) -> list[str]:
    """Label budgets that every class can pay out of the training split, and that give it more than one image."""
    val, test = shares(survey)
    smallest = min(survey.classes.values()) * (1 - val) * (1 - test)
    counts = [n for n in ("5", "20") if int(n) <= smallest]
    return counts + [share for share, fewest in (("1%", 150), ("10%", 15)) if smallest >= fewest] or ["1"]


def _shares(survey: Survey, plan: Plan) -> list[str]:
    """Label budgets for labels that are no classes: shares of at least FEW_LABELS training images."""
    labelled = training_images(survey, plan.most) * (1 - survey.unlabelled / max(1, survey.images))
    return [text for text, share in (("1%", 0.01), ("10%", 0.1)) if share * labelled >= FEW_LABELS] or ["50%"]


def warnings(survey: Survey) -> Iterator[str]:
    """Warnings for the user before any time is spent."""
    train = training_images(survey)
    yield from survey.warnings
    if train < 500:
        yield (
            f"About {train:,} images to learn from are very few: expect little above the untrained encoder, and wide "
            "intervals. Thousands are usual; images without labels help too, in a folder unlabelled/ next to train/."
        )
    yield from survey.copies.warnings()
    if survey.near:
        yield near_warning(survey.near, survey.halves)
    yield from survey.remarks
    if survey.classes and min(survey.classes.values()) < 10:
        small = min(survey.classes, key=lambda name: survey.classes[name])
        yield f"Class {small!r} has {survey.classes[small]} image(s): too few to learn it."
    long = sum(max(h.width, h.height) > 1.5 * min(h.width, h.height) for h in survey.headers) / max(
        1, len(survey.headers)
    )
    if long > 0.25:
        yield f"{long:.0%} of the images are longer than 3:2, and `fit: crop` keeps the middle; `pad` keeps all."
