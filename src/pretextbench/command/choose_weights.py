"""Start weights and rows of encoders as they are, which `init` chooses for params.yaml, each with its reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.command.cost import Profile
from pretextbench.command.template import Choice
from pretextbench.command.weight_search import Weights

CONTINUED = {  # methods without a teacher continue more surely: docs/weights.md
    Profile.standard: ["simclr", "vicreg", "lejepa"],
    Profile.gpu: ["simclr", "vicreg", "lejepa", "byol", "moco"],
    Profile.multi_gpu: ["simclr", "vicreg", "lejepa", "byol", "moco"],
}
FROM_SCRATCH = "simclr"  # the method that is in the comparison twice: with and without the weights
SCRATCH = f"{FROM_SCRATCH}-scratch"
CONTINUED_IMAGES = {Profile.standard: 50_000, Profile.gpu: 1_000_000, Profile.multi_gpu: 2_000_000}
USED = 4  # weights that are looked at, at most
REFERENCES = {Profile.quick: 1, Profile.standard: 1, Profile.gpu: 2, Profile.multi_gpu: 2}  # at most
LARGE_IMAGES = 96  # pixels from which weights made on photographs of 224 px see enough
MULTIPLE = 32  # of the image size: such networks halve the side five times
OWN_TRANSFORMERS = {  # of this project, which take small images too
    f"timm/vit_{size}_patch16_224": f"vit-{size}" for size in ("tiny", "small", "base")
}
NO_CLASSES = "no `supervised`, which learns classes: these labels are none"
ORIGINS = {"option": "by --weights", "cache": "in a cache here", "server": "downloaded by the run"}


@dataclass(frozen=True)
class Proposal:
    """How weights are used: from one training starts, others are rows as they are."""

    start: Weights | None = None
    references: tuple[Weights, ...] = ()

    @property
    def large(self) -> bool:
        """Whether an encoder was made for images larger than those of a quick comparison."""
        return any(weights.made_for is None for weights in (self.start, *self.references) if weights)


def propose(usable: list[Weights], profile: Profile) -> Proposal:
    """Training starts from the first that takes images of any size, or from those that were given; not in `quick`."""
    start = None
    if profile is not Profile.quick:
        start = next((w for w in usable if w.side is None or w.origin == "option"), None)
    spare = [weights for weights in usable if weights.origin == "server" and weights.side is None]  # other starts
    others = [weights for weights in usable if weights is not start and weights not in spare]
    if start and start.origin == "option" and start.encoder.name in OWN_TRANSFORMERS:
        start = Weights(_own_transformer(start.encoder), start.origin)
    return Proposal(start, tuple(others[: REFERENCES[profile]]))


def _own_transformer(encoder: EncoderParams) -> EncoderParams:
    """A vision transformer of timm as that of this project, which cuts small images into small patches."""
    return EncoderParams(name=OWN_TRANSFORMERS[encoder.name], weights=encoder.weights)


def image_size(proposal: Proposal, usual: int, fine: int) -> tuple[int, str] | None:
    """Side that suits the weights, in pixels, and why; None where the usual choice does.

    Args:
        proposal: the encoders.
        usual: side that was chosen without weights.
        fine: shorter side of the images, which a quarter of them do not reach.
    """
    if proposal.start is None:
        if not proposal.references or not proposal.large or usual >= LARGE_IMAGES or fine < LARGE_IMAGES:
            return None
        return LARGE_IMAGES, f"at {usual} px the encoder of the row {names(proposal)[0]} would see little"
    if proposal.start.made_for:
        return None
    if side := proposal.start.side:
        return max(8, min(side, fine // 8 * 8)), f"the network brings every image to {side} px"
    side = max(LARGE_IMAGES, usual // MULTIPLE * MULTIPLE)
    enlarged = f"; a quarter of your images is no larger than {fine} px and is enlarged" if fine < side else ""
    return side, f"the weights are for photographs of 224 px and see little below {LARGE_IMAGES} px{enlarged}"


def encoder(proposal: Proposal) -> Iterator[Choice]:
    """The section `encoder`, where training starts from weights."""
    if proposal.start is None:
        return
    section = written(proposal.start.encoder)
    for key, value in section.items():
        reason = (
            f"{ORIGINS[proposal.start.origin]}; training starts from them. Their licence is printed when they are read"
        )
        yield Choice("encoder", key, value, reason if key == "weights" else "of the weights")


def methods(proposal: Proposal, usual: list[str], why: str) -> Iterator[Choice]:
    """The methods; where there are start weights, the first once more from scratch."""
    rows = [*usual, *([SCRATCH] if proposal.start else [])]
    yield Choice("compare", "methods", rows, why)
    if proposal.start:
        reason = f"{FROM_SCRATCH} once more, without the start weights: what they are worth"
        yield Choice("methods", SCRATCH, {"method": FROM_SCRATCH, "from_scratch": True}, reason)


def controls(proposal: Proposal, classes: bool, task: str) -> Iterator[Choice]:
    """The control `untouched`, where there are start weights, with those that the labels allow."""
    if proposal.start is None:
        return
    reason = (
        "the methods continue from the weights, against `untouched` (the weights as they are), `random` (the network "
        f"without weights, untrained) and {SCRATCH} (trained without weights)"
    )
    if classes:
        judged, first = ["pixels", "supervised"], "`supervised` fine-tunes the weights with all labels"
    elif task != "class":
        judged, first = ["pixels"], NO_CLASSES
    else:
        judged, first = [], "no `supervised`: it needs labels"
    reason = f"{first}; {reason}"
    yield Choice("compare", "controls", ["random", "untouched", *judged], reason)


def references(proposal: Proposal) -> Iterator[Choice]:
    """The rows of encoders as they are."""
    if not proposal.references:
        return
    keys = names(proposal)
    reason = "encoders as they are, on the same images: what training here has to beat. They are in no test of methods"
    yield Choice("compare", "references", keys, reason)
    for key, weights in zip(keys, proposal.references, strict=True):
        size = f"; it brings every image to {weights.side} px" if weights.side else ""
        yield Choice("references", key, written(weights.encoder), f"weights {ORIGINS[weights.origin]}{size}")


def names(proposal: Proposal) -> list[str]:
    """Names of the rows, each once, none that of a method: `resnet18-weights`, `dinov2-weights`."""
    made: list[str] = []
    for weights in proposal.references:
        path = weights.encoder.weights_file
        text = path.parent.name if path and path.stem == "encoder" else path.stem if path else weights.encoder.name
        text = re.sub(r"[^a-z0-9]+", "-", text.rpartition("/")[2].lower()).strip("-")[:40].strip("-")
        text = f"{text if text[:1].isalpha() else 'file'}-weights"
        made.append(text if text not in made else f"{text}-{len(made) + 1}")
    return made


def written(section: EncoderParams) -> dict[str, object]:
    """The section as it is written: name and weights, and what differs from the defaults."""
    values = section.model_dump(mode="json", exclude_defaults=True)
    return {"name": section.name, **values}


def sentence(proposal: Proposal, looked: str, profile: Profile) -> str:
    """One line for people: which weights are used and how, and what was looked at."""
    parts = [f"training starts from {_name(proposal.start)}"] if proposal.start else []
    parts += [f"{_name(weights)} is a row as it is" for weights in proposal.references]
    if not parts and not looked:
        return "weights: none, by --weights none"
    if not parts and "can be reached" in looked:
        advice = "`--weights timm/resnet18` adds a row" if profile is Profile.quick else "none is usable"
        parts = [f"none used; {advice}"]
    elif not parts:
        parts = ["none used; `--weights FILE` takes a file"]
    return "weights: " + "; ".join([*parts, *filter(None, [looked])])


def _name(weights: Weights) -> str:
    encoder = weights.encoder
    if encoder.weights_tag:
        return f"{encoder.name} {encoder.weights_tag} ({ORIGINS[weights.origin]})"
    return f"{Path(encoder.weights or '').name} ({encoder.name})"
