"""Search space of a method: the values of its parameters that the stage `tune` tries.

Two parameters are searched for every method: the learning rate and the batch size. A method adds values of at most two
of its own, as `PretextMethod.search`, so that no method has more to search than another. What params.yaml sets under
`methods` is not searched.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pretextbench.errors import nearest
from pretextbench.params import MethodParams, Params, Pretrain
from pretextbench.project.variant import row_of

if TYPE_CHECKING:
    import numpy as np  # the inventory, which imports this, needs none

RATE, BATCH = "optimizer.lr", "batch_size"
COMMON = (RATE, BATCH)
FACTORS = (1 / 3, 1, 3)  # of the method's learning rate
BATCHES = (64, 128, 256)  # and the one in use
OWN = 2  # parameters that a method may add, at most
Setting = Mapping[str, Any]  # name of a parameter, as `optimizer.lr` -> value
Space = Mapping[str, tuple[Any, ...]]  # name -> the values to try
BOUNDS = {  # pydantic's type of a mistake -> its bound, and words for the nearest allowed value
    "greater_than_equal": ("ge", "{}"),
    "less_than_equal": ("le", "{}"),
    "greater_than": ("gt", "just above {}"),
    "less_than": ("lt", "just below {}"),
}


def mistakes(method: Any) -> Iterator[str]:
    """Mistakes in `search` of a method: one sentence each, without a full stop."""
    if not isinstance(method.search, Mapping):
        yield f"`search` is {type(method.search).__name__}, and a mapping is needed: name of a parameter -> its values"
        return
    own = [name for name in method.search if name not in COMMON]
    if len(own) > OWN:
        yield f"`search` names {', '.join(own)}: at most {OWN} parameters of its own, so that all have equal chances"
    for name, values in method.search.items():
        yield from _of_parameter(str(name), values, method.Params)


def _of_parameter(name: str, values: Any, model: type[MethodParams]) -> Iterator[str]:
    known = [*_names(model().model_dump())]
    if name not in known:
        yield f"`search` names `{name}`, which is no parameter.{nearest(name, known)} Parameters: {', '.join(known)}"
    elif not isinstance(values, Sequence) or isinstance(values, str):
        yield f"`search` of `{name}` needs a list of values, found {values!r}"
    elif len(values) < 2:
        held = f"has one value, {values[0]!r}" if values else "is empty"
        yield f"`search` of `{name}` {held}: name two values or more, or leave the parameter out"
    elif len(set(map(repr, values))) < len(values):
        yield f"`search` of `{name}` names a value twice: {list(values)}"
    else:
        yield from (fault for value in values if (fault := _out_of_range(name, value, model)))


def _out_of_range(name: str, value: Any, model: type[MethodParams]) -> str:
    """What is wrong with a value, and the nearest that is allowed; empty where it is allowed."""
    try:
        tuned(model(), {name: value})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key, words = BOUNDS.get(fault["type"], ("", ""))
        allowed = fault["msg"].removeprefix("Value error, ")
        if key:
            allowed = f"the nearest allowed is {words.format(fault['ctx'][key])}"
        return f"`search` of `{name}` has {value!r}, which is not allowed: {allowed}"
    return ""


def _names(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        yield from _names(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]


def tuned(own: MethodParams, setting: Setting) -> MethodParams:
    """The parameters of a method with other values.

    Raises:
        ValidationError: a value is not allowed.
    """
    raw = own.model_dump()
    for name, value in setting.items():
        *sections, last = name.split(".")
        place = raw
        for section in sections:
            place = place[section]
        place[last] = value
    return type(own).model_validate(raw)


def space(method: Any, own: MethodParams, fixed: Sequence[str], params: Params, images: int) -> Space:
    """The values that are searched for one row of the comparison; of each parameter two or more.

    Args:
        method: its class.
        own: its parameters in params.yaml, with defaults filled in.
        fixed: names that params.yaml sets.
        images: in the training split; a batch has at most half of them.
    """
    batch, rate = batch_of(own, params.pretrain), own.optimizer.lr
    rates = tuple(rate if factor == 1 else float(f"{factor * rate:.6g}") for factor in FACTORS)
    stated = {RATE: rates, BATCH: sorted({*BATCHES, batch}), **method.search}
    parts = _parts(params.pretrain)
    stated[BATCH] = [size for size in stated[BATCH] if size == batch or (size % parts == 0 and 2 * size <= images)]
    left = {n: tuple(v for v in stated[n] if _allowed(own, n, v)) for n in stated if n not in fixed}
    return {name: values for name, values in left.items() if len(values) > 1}


def _allowed(own: MethodParams, name: str, value: Any) -> bool:
    """Whether a value goes with what params.yaml sets."""
    try:
        tuned(own, {name: value})
    except ValidationError:
        return False
    return True


def batch_of(own: MethodParams, pretrain: Pretrain) -> int:
    """Images per step: the method's own number, or the common one."""
    return own.batch_size or pretrain.batch_size


def fixed(raw: Mapping[str, Any]) -> list[str]:
    """Names of the parameters that the section of a method in params.yaml sets."""
    return sorted(_names({name: value for name, value in raw.items() if value is not None}))


def current(own: MethodParams, searched: Space, pretrain: Pretrain) -> Setting:
    """The values of the searched parameters without tuning: those of the first trial."""
    raw = own.model_dump() | {BATCH: batch_of(own, pretrain)}
    values = {}
    for name in searched:
        place: Any = raw
        for part in name.split("."):
            place = place[part]
        values[name] = place
    return values


def settings(searched: Space, first: Setting, count: int, draws: "np.random.Generator") -> list[Setting]:
    """`count` different settings: `first`, then others from the grid. A larger count begins with the same ones."""
    grid = [dict(zip(searched, values, strict=True)) for values in itertools.product(*searched.values())]
    others = [setting for setting in grid if setting != first]
    return [first, *(others[i] for i in draws.permutation(len(others))[: count - 1])]


def size(searched: Space, first: Setting) -> int:
    """Different settings in a space, the first one included."""
    inside = all(first[name] in values for name, values in searched.items())
    return math.prod(map(len, searched.values())) + (not inside)


def for_trials(pretrain: Pretrain, images: int) -> Pretrain:
    """The training of a trial on so many images: on one device, in the stage's own process, and without snapshots."""
    return pretrain.of_images(images).model_copy(update={"snapshots": (), "devices": 1, "nodes": 1})


def plan(params: Params) -> dict[str, dict[str, Any]]:
    """Method -> what its tuning depends on, besides its code and its parameters; empty where it is not tuned."""
    if not params.tune.trials:
        return {name: {} for name in params.compare.methods}
    training = for_trials(params.pretrain, params.tune.images).decisive()
    every = {**params.tune.decisive(), "training": training, "parts": _parts(params.pretrain)}
    return {name: {**every, "set": fixed(row_of(name, params).own)} for name in params.compare.methods}


def _parts(pretrain: Pretrain) -> int:
    """Parts into which a batch must divide."""
    return pretrain.accumulate * pretrain.devices * pretrain.nodes


def refusals(
    name: str, method: Any, own: MethodParams, raw: Mapping[str, Any], params: Params, images: int
) -> list[str]:
    """Reasons why row `name` cannot be tuned as `tune` in params.yaml asks."""
    if not params.tune.trials:
        return []
    if faults := [f"Method {name!r} cannot be tuned: {fault}." for fault in mistakes(method)]:
        return faults
    searched = space(method, own, named := fixed(raw), params, images)
    if not searched:  # all of it is set in params.yaml: the report has a sentence on it
        return []
    trials, first = params.tune, current(own, searched, params.pretrain)
    if (held := size(searched, first)) < trials.trials:
        because = f"methods.{name} sets {', '.join(named)}, and " if named else ""
        return [
            f"tune.trials is {trials.trials}, but {because}method {name!r} has {held} settings to try "
            f"({', '.join(searched)}). Lower tune.trials to at most {held}."
        ]
    largest = max(searched.get(BATCH, (batch_of(own, params.pretrain),)))
    if trials.images < largest:
        return [
            f"tune.images is {trials.images}, less than one step of method {name!r} with a batch of {largest}. Raise "
            f"tune.images to at least {largest}."
        ]
    return []
