"""Tensors of a file against the weights of a network: by name and shape, with what usually stands between them."""

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.errors import UserError

PREFIXES = (
    "module", "_orig_mod", "backbone", "encoder", "model", "network", "net", "trunk", "student", "teacher", "encoder_q",
    "base_encoder", "online_encoder",
)  # fmt: skip
HEADS = {"head", "heads", "head_dist", "fc", "classifier", "last_linear"}  # of classifiers, which are left over
COUNTER = "num_batches_tracked"  # of a batch norm: files of old have none
LEAST = 0.5  # of the numbers of a network that a file must have
SHOWN = 4  # names in a report
SKIP = "set encoder.skip_stem to true, which loads all but the first layer"
LARGE_IMAGES = 96  # pixels from which a stem for large images leaves maps worth the name


@dataclass(frozen=True)
class Match:
    """What of a file fits a network, and what does not."""

    tensors: Mapping[str, Tensor]  # the weights that are taken, as the network needs them
    missing: tuple[str, ...]  # weights of the network that the file lacks: they stay as initialised
    left_over: tuple[str, ...]  # of the file, that the network has not, such as a classifier
    resampled: tuple[str, ...]  # to another number of positions or size of patch
    adapted: tuple[str, ...]  # to images of three channels
    skipped: tuple[str, ...] = ()  # the stem, where it is to stay as initialised

    def __str__(self) -> str:
        parts = [f"{len(self.tensors)} tensors matched"]
        for word in ("missing", "left_over", "resampled", "adapted", "skipped"):
            if names := getattr(self, word):
                more = ", ..." if len(names) > SHOWN else ""
                parts.append(f"{len(names)} {word.replace('_', ' ')} ({', '.join(names[:SHOWN])}{more})")
        return ", ".join(parts)


def match(
    network: nn.Module, tensors: Mapping[str, Tensor], params: EncoderParams, source: str, image_size: int | None
) -> Match:
    """Find the weights of `network` among `tensors`.

    Args:
        network: its values are not used.
        tensors: of the file, by name.
        params: of the encoder, for messages.
        source: the file, for messages.
        image_size: side of the images in pixels, for messages.

    Raises:
        UserError: nothing matches, or the file is of another architecture, stem or number of channels.
    """
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name not in ("mean", "std")}
    named = max(_readings(network, tensors), key=lambda reading: _agreement(reading, wanted))
    skipped = stem(network) if params.skip_stem else ()
    wanted, named = ({n: t for n, t in part.items() if n not in skipped} for part in (wanted, named))
    taken = {name: tensor for name, tensor in named.items() if name in wanted}
    if not taken:
        raise UserError(
            f"encoder.weights: no tensor of {source} has a name of {params.name}. The file has {_some(tensors)}, the "
            f"network {_some(wanted)}. Set encoder.name to the network of the file."
        )
    adapted = tuple(name for name in taken if _is_grey(taken[name], wanted[name]))
    taken |= {name: taken[name].expand_as(wanted[name].to(taken[name].device)) / 3 for name in adapted}
    for name in taken:
        if taken[name].shape != wanted[name].shape:
            raise UserError(f"encoder.weights: {_misfit(name, taken[name], wanted[name], params, source, image_size)}")
    missing = tuple(name for name in wanted if name not in taken and not name.endswith(COUNTER))
    left_over = tuple(name for name in named if name not in wanted)
    _refuse_other_architecture(taken, wanted, missing, left_over, f"{source} is not of {params.name}")
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    resampled = tuple(n for n in taken if _positional(n) and n not in adapted and tuple(taken[n].shape) not in shapes)
    return Match(taken, missing, left_over, resampled, adapted, tuple(n for n in skipped if not n.endswith(COUNTER)))


def stem(network: nn.Module) -> tuple[str, ...]:
    """Names of the tensors of the first layer, which sees the pixels, and of the norm behind it, if it has one."""
    leaves = [(name, module) for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    start = next(i for i, (_, module) in enumerate(leaves) if isinstance(module, nn.Conv2d))
    (first, layer), *later = leaves[start : start + 2]
    both = {first: layer, **{name: module for name, module in later if _is_norm_behind(first, name, module)}}
    return tuple(f"{name}.{tensor}" for name, module in both.items() for tensor in module.state_dict())


def _is_norm_behind(first: str, name: str, module: nn.Module) -> bool:
    norm = isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm)
    return norm and name.rpartition(".")[0] == first.rpartition(".")[0]


def _agreement(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many names agree, and how many of these shapes."""
    common = tensors.keys() & wanted.keys()
    return len(common), sum(tensors[name].shape == wanted[name].shape for name in common)


def _readings(network: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The tensors under the names that they may have in the network: without a usual prefix, converted by its library.

    The names as they are come first, so that a prefix is taken off only where more names match without it.
    """
    for prefix in sorted(set(itertools.chain.from_iterable(map(_prefixes, tensors))), key=len):
        plain = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        others = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
        yield {**others, **plain}
        converted = _converted(network, plain)
        if converted is not None:
            yield {**others, **converted}


def _prefixes(name: str) -> Iterator[str]:
    """The beginnings of a name that consist of usual prefixes, the empty one among them."""
    yield ""
    parts = name.split(".")
    for count, _ in enumerate(itertools.takewhile(PREFIXES.__contains__, parts[:-1]), 1):
        yield ".".join(parts[:count]) + "."


def _converted(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """What the library of the network makes of a file: names of the first publication, positions, patches."""
    module: Any = sys.modules.get(type(network).__module__)
    try:
        if hasattr(module, "checkpoint_filter_fn"):  # timm
            result: Mapping[str, Tensor] = module.checkpoint_filter_fn(dict(tensors), network)
            return result
        if hasattr(module, "interpolate_embeddings"):  # torchvision's vision transformers
            side, patch = network.image_size, network.patch_size
            resampled: Mapping[str, Tensor] = module.interpolate_embeddings(side, patch, dict(tensors))
            return resampled
    except Exception:  # made for files of that library: others fail in many ways, and are matched as they are
        return None
    return None


def _is_grey(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether a first layer is for images of one channel; each of three gets a third of its weights."""
    return tensor.ndim == 4 and tensor.shape[1] == 1 and wanted.shape == (len(tensor), 3, *tensor.shape[2:])


def _positional(name: str) -> bool:
    return any(word in name for word in ("pos_embed", "patch_embed", "rel_pos", "relative_position"))


def _misfit(
    name: str, tensor: Tensor, wanted: Tensor, params: EncoderParams, source: str, image_size: int | None
) -> str:
    """Why a tensor of the right name does not fit, and what to do."""
    theirs, ours = ("x".join(map(str, shape)) or "a number" for shape in (tensor.shape, wanted.shape))
    shapes = f"{name} is {theirs} in {source} and {ours} in {params.name}"
    if tensor.ndim == wanted.ndim == 4 and name == "conv1.weight" and "/" not in params.name:
        if tensor.shape[2:] != wanted.shape[2:]:
            stem = "large" if tensor.shape[2] > wanted.shape[2] else "small"
            size = f", and prepare.image_size to {LARGE_IMAGES} or more" if stem == "large" else ""
            return f"the stem of the file is for {stem} images: {shapes}. Set encoder.stem to {stem}{size}, or {SKIP}."
        if len(tensor) != len(wanted):
            return f"the file is of another width: {shapes}. Set encoder.width to {len(tensor)}."
    if tensor.ndim == wanted.ndim == 4 and wanted.shape[1] == 3 and tensor.shape[1] != 3:
        count = tensor.shape[1]
        return f"the file is for images of {count} channels, these have 3: {shapes}. Choose other weights, or {SKIP}."
    return f"the file is of another architecture: {shapes}. Set encoder.name to the network of the file."


def _refuse_other_architecture(
    taken: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    missing: tuple[str, ...],
    left_over: tuple[str, ...],
    reason: str,
) -> None:
    """Refuse a file that has a part of the network, such as `layer1`, with fewer or more weights, or little of it.

    Raises:
        UserError: names a weight.
    """
    advice = "Set encoder.name to the network of the file."
    parts = {_part(name) for name in taken}
    if fewer := [name for name in missing if _part(name) in parts]:
        raise UserError(f"encoder.weights: {reason}: it has no {fewer[0]} ({len(fewer)} such weights). {advice}")
    if more := [name for name in left_over if _part(name) in parts and not HEADS & set(name.split("."))]:
        raise UserError(f"encoder.weights: {reason}: it has {more[0]} too ({len(more)} such weights). {advice}")
    share = sum(wanted[name].numel() for name in taken) / sum(tensor.numel() for tensor in wanted.values())
    if share < LEAST:
        raise UserError(f"encoder.weights: {reason}: it has {share:.0%} of the weights. {advice}")


def _part(name: str) -> str:
    return name.partition(".")[0]


def _some(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(list(tensors)[:SHOWN]) + (", ..." if len(tensors) > SHOWN else "")
