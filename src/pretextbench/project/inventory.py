"""Inventory of a comparison: its methods and controls, their code and parameters.

Runs before every pipeline run, so it must be quick: a method is imported (with torch, seconds) only to check parameters
that were not checked before.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from pretextbench import registry
from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import MethodParams, OptimizerParams, Params, Pretrain
from pretextbench.project import search_space
from pretextbench.project.variant import check_names, row_of

Entry = dict[str, Any]
TRANSFORMER = OptimizerParams(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.1)  # of a vision transformer
MANY = 10**9  # training images, where it is not known how many there are
CONTRACT = (
    "params.py",
    "base/encoder_params.py",
    "base/training_params.py",
    "base/source_params.py",
    "base/section.py",
    "method.py",
    "project/inventory.py",
    "project/search_space.py",
)


def contestants(params: Params) -> tuple[str, ...]:
    """Methods and controls, by name.

    Raises:
        UserError: as `variant.check_names`.
    """
    check_names(params)
    return params.compare.methods + params.compare.controls


def take_stock(params: Params, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """One entry per contestant: distribution, version, hash of its source, parameters with defaults filled in.

    `known` holds the entries that an earlier call returned, by their `fingerprint`; those are not checked again.

    Raises:
        UserError: a method cannot be used or its parameters have mistakes; all methods' mistakes are listed together.
    """
    entries, mistakes = {}, []
    for name in contestants(params):
        try:
            entries[name] = _entry(name, params, known)
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(dict.fromkeys(mistakes)))  # what is wrong with the encoder is wrong for all of them
    return entries


def _entry(name: str, params: Params, known: Mapping[str, Entry]) -> Entry:
    row = row_of(name, params)
    plugin, raw = registry.find(row.method), params.methods.get(name) or {}
    facts = {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
        "source_hash": registry.source_hash(plugin),
        **({} if row.method == name else {"method": row.method}),
        **({"from_scratch": True} if row.from_scratch else {}),
    }
    tuned = name in params.compare.methods and params.tune.trials > 0
    target = [
        row.encoder.decisive(),
        row.encoder.start_sha256(),
        params.prepare.image_size,
        params.pretrain.decisive(),
        params.compare.budgets,
        images_known(params),
        params.tune.decisive() if tuned else None,
    ]
    text = json.dumps([name, facts, raw, target, version("pretextbench")], sort_keys=True, default=str)
    fingerprint = hashlib.sha256(text.encode() + _contract()).hexdigest()
    if fingerprint in known:
        return known[fingerprint]
    method = registry.load(row.method)
    own = own_parameters(name, method, params)
    check_trainings(name, method, own, params, images_known(params))
    if tuned and (refusals := search_space.refusals(name, method, own, row.own, params, images_known(params))):
        raise UserError("\n".join(refusals))
    colour = {"colour": True} if method.requires.colour else {}  # needed
    return {**facts, **colour, "params": own.model_dump(mode="json"), "fingerprint": fingerprint}


def check_references(params: Params, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """One entry per reference: its encoder, which can be built and takes its weights.

    Raises:
        UserError: the first that cannot be built.
    """
    return {name: _reference(name, params, known) for name in params.compare.references}


def _reference(name: str, params: Params, known: Mapping[str, Entry]) -> Entry:
    encoder, size = params.references[name], params.prepare.image_size
    facts = {"encoder": encoder.decisive(), "start_sha256": encoder.start_sha256()}
    text = json.dumps([name, facts, size, version("pretextbench")], sort_keys=True)
    fingerprint = hashlib.sha256(text.encode() + _contract()).hexdigest()
    if fingerprint not in known:
        import torch  # not needed when all entries are known

        from pretextbench.encoder import build
        from pretextbench.encoders import weights

        try:
            with torch.device("meta"):
                network = build(encoder, size, (0.5,) * 3, (0.25,) * 3)
            weights.check(network, encoder)
        except UserError as error:
            raise UserError(f"references.{name}: {error}") from None
    return {**facts, "fingerprint": fingerprint}


def own_parameters(name: str, method: Any, params: Params) -> MethodParams:
    """The parameters of a method in params.yaml, with defaults filled in.

    On a vision transformer all methods have one default of the optimizer: their own are for residual networks. A method
    that needs tokens keeps its own.

    Raises:
        UserError: the parameters have mistakes.
    """
    from pretextbench.encoder import TokenEncoder  # here: it imports torch, as the method does

    raw = row_of(name, params).own
    if params.encoder.transformer and not issubclass(method.requires.encoder, TokenEncoder):
        raw.setdefault("optimizer", TRANSFORMER.model_dump())
    own: MethodParams = parse(method.Params, raw, "params.yaml", f"methods.{name}")
    return own


def check_trainings(name: str, method: Any, own: MethodParams, params: Params, images: int) -> None:
    """`check_pair` at the budget of `pretrain`, and for a method at those of `compare.budgets` too; raises as it."""
    others = params.compare.budgets if name in params.compare.methods else ()
    for pretrain in (params.pretrain, *map(params.pretrain.of_images, others)):
        check_pair(name, method, own, params.model_copy(update={"pretrain": pretrain}), images)


def check_pair(name: str, method: Any, own: MethodParams, params: Params, images: int) -> None:
    """Refuse a method that cannot work with the encoder, the image size, the batch or the budget of params.yaml.

    Whether the images have colour is known when they are prepared. The networks are built without their numbers (on
    torch's device `meta`), for what a method itself refuses.

    Args:
        images: in the training split; `MANY` where it is not known.

    Raises:
        UserError: it cannot; the library or the method itself says why.
    """
    import torch  # here, with the method: not needed when all entries are known

    from pretextbench.encoders import depth, weights
    from pretextbench.method import Data

    size, encoding = params.prepare.image_size, row_of(name, params).encoder
    method.requires.check(name, size)
    classes, grey = (2 if method.uses_labels else 0), ((0.5,) * 3, (0.25,) * 3)
    try:
        noise = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
        _check_recipe(name, method, own, size)
        derived, batch = method.derive(own, iter([noise]), size), own.batch_size or params.pretrain.batch_size
        data = Data(size, *grey, images, derived, classes, **of_training(params.pretrain, batch, images))
        with torch.device("meta"):
            encoder = method.build_encoder(own, encoding, data)
            method.requires.check(name, size, encoder)
            method(own, encoder, data)
        if method.uses_weights:
            weights.check(encoder, encoding)
            depth.check(encoder, params.encoder, params.pretrain.layer_decay)
    except UserError:
        raise
    except Exception:  # not the user's: the stages of the method, which have the data, show it in full
        return


def _check_recipe(name: str, method: Any, own: MethodParams, size: int) -> None:
    try:
        method.recipe(own, size)
    except UserError as error:
        raise UserError(f"methods.{name}: {error}") from None


class OfTraining(TypedDict):
    """The facts of `method.Data` about a training."""

    batch: int
    part: int
    accumulate: int
    budget: int


def of_training(pretrain: Pretrain, batch: int, images: int) -> OfTraining:
    """Batch, parts and budget of a training on `images`."""
    part, budget = batch // parts_of(pretrain), round(seen(pretrain, images))
    return {"batch": batch, "part": part, "accumulate": pretrain.accumulate, "budget": budget}


def parts_of(pretrain: Pretrain) -> int:
    """Parts of a batch: of each process as many as `accumulate`."""
    return pretrain.accumulate * pretrain.devices * pretrain.nodes


def seen(pretrain: Pretrain, images: int) -> float:
    """The budget in images, on a training split of `images`; the training rounds it to whole batches.

    `MANY` for one in multiply-adds, until those of a step are counted: see `train.work.counted`.
    """
    return pretrain.images or (pretrain.epochs or 0) * images or MANY


def images_known(params: Params) -> int:
    """Number of training images, where it is known before any is read; else `MANY`."""
    return params.prepare.synthetic.train if params.prepare.source == "synthetic" else MANY


def _contract() -> bytes:
    """The files of the library that give every method's parameters their defaults and meaning."""
    library = Path(registry.__file__).parent
    return b"".join((library / name).read_bytes() for name in CONTRACT)
