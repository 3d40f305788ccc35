"""Sections of a parameter file and the types of their values; all mistakes in a section are reported at once."""

import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pretextbench.base.names import printable
from pretextbench.errors import UserError, nearest

Values = TypeVar("Values", bound=tuple[Any, ...])


def _no_steps(value: object) -> object:
    if isinstance(value, int | float) and value > 1:
        raise ValueError("expected a share of the budget from 0 to 1, and not a number of steps or epochs")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
BudgetShare = Annotated[float, BeforeValidator(_no_steps), Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=10**12)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
RandomSeed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # strict: DVC would name a stage after 1.0 or true
ImagesSeen = Annotated[int, Field(gt=0, le=10**12, strict=True)]  # ditto
LINE = r"^[^/:\"'%\\\p{Cc}\p{Zl}\p{Zp}\p{Bidi_C}]+$"  # no marks of direction either
OneLine = Annotated[str, Field(min_length=1, max_length=100, pattern=LINE)]  # a name that other programs take

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"  # of a method: it becomes a folder, a DVC stage and a YAML key
MethodName = Annotated[str, Field(pattern=NAME, max_length=64)]  # names of files contain it
SourceName = Literal["synthetic", "folder", "cifar10", "cifar100", "stl10", "imagenette"]


def distinct(values: Values) -> Values:
    """Return the values as they are.

    Raises:
        ValueError: a value is repeated.
    """
    if len(set(values)) < len(values):
        raise ValueError("names one entry twice")
    return values


def label_budget(text: str) -> tuple[float, bool]:
    """A label budget as a number, and whether it is a percentage of the training labels: '1%', or '5' per class.

    Raises:
        ValueError: it is neither.
    """
    number, percent, suffix = text.strip().partition("%")
    valid = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?" if percent else r"[0-9]{1,9}", number.rstrip()) and not suffix
    if not valid or not 0 < float(number) <= (100 if percent else 10**9):
        raise ValueError(
            "not a label budget. Allowed: a share of the training labels above 0% and up to 100%, such as '1%', or a "
            "whole number of labels per class, such as '5'"
        )
    return float(number), bool(percent)


def _label_budget_as_written(text: str) -> str:
    label_budget(text)
    return text


def _distinct_budgets(texts: tuple[str, ...]) -> tuple[str, ...]:
    distinct(tuple(map(label_budget, texts)))
    return texts


LabelBudgets = Annotated[
    tuple[Annotated[str, AfterValidator(_label_budget_as_written)], ...], AfterValidator(_distinct_budgets)
]


Model = TypeVar("Model", bound=BaseModel)
LIST, NUMBER = "needs a list, such as [a, b]", "needs a number"
WHOLE, SECTION = "needs a whole number", "needs a section: lines of the form `key: value`, indented below it"
WORDS = {  # pydantic's type of a mistake -> what is allowed, where its own words are those of Python
    **dict.fromkeys(("tuple_type", "list_type"), LIST),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), SECTION),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "needs true or false"),
    "string_type": "needs a text",
}
PATTERNS = {  # of a text -> what is allowed
    NAME: "needs a name of lower-case letters, digits and single dashes",
    LINE: "needs one line without quotes, slashes, colons and percent signs",
}


class Section(BaseModel):
    """A frozen group of parameters: unknown keys are refused, numbers must be finite, defaults are checked too."""

    operational: ClassVar[frozenset[str]] = frozenset()  # fields that change speed, memory or logs, and no result

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_switch_for_number(cls, raw: Any) -> Any:
        """Python would take `true` for 1."""
        for name, value in raw.items() if isinstance(raw, dict) else ():
            field = cls.model_fields.get(name)
            values = value if isinstance(value, list | tuple) else [value]
            if field and any(isinstance(part, bool) for part in values) and not _takes_bool(field.annotation):
                raise ValueError(f"`{name}`: expected a number or a word, not true or false")
        return raw

    def decisive(self) -> dict[str, Any]:
        """The fields that can change a result, as JSON: a stage is stale when one of them changes."""
        return self.model_dump(mode="json", exclude=set(self.operational))


def _takes_bool(annotation: Any) -> bool:
    """Whether true and false are values of a type, or of its elements."""
    return annotation in (bool, Any) or any(_takes_bool(part) for part in get_args(annotation))


def _known(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at `path`."""
    for part in path:
        annotation = getattr(model, "model_fields", {}).get(part)
        model = annotation.annotation if annotation is not None else None
    return list(getattr(model, "model_fields", {}))


def _in_words(error: Any) -> str:
    """What is allowed, in the words of the file and not of Python; pydantic's where they are plain."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "too_short":
        return f"needs at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'}"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"]) or error["msg"]
    return WORDS.get(kind) or error["msg"].removeprefix("Value error, ")


def _message(error: Any, model: type[BaseModel], prefix: str) -> str:
    """One line for one mistake: its key, the value found, the values allowed."""
    path = tuple(error["loc"])
    key = printable(".".join([prefix, *map(str, path)] if prefix else list(map(str, path)))) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known(model, path[:-1])
        return f"{key}: unknown key.{nearest(str(path[-1]), known)} Allowed: {', '.join(known)}."
    message = _in_words(error)
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        message += "; put it into quotes"
    words = {"None": "null", "True": "true", "False": "false"}  # as they stand in the file
    shown = repr(error["input"])
    value = "" if isinstance(error["input"], dict) else f" (found {words.get(shown, shown):.80})"
    return printable(f"{key}: {message}{value}.")


def _consequence(error: Any, mistakes: list[Any]) -> bool:
    """Whether a tuple is too short only because pydantic has taken out its wrong items, each a mistake of its own."""
    path = error["loc"]
    return error["type"] == "too_short" and any(
        len(mistake["loc"]) > len(path) and mistake["loc"][: len(path)] == path for mistake in mistakes
    )


def parse(model: type[Model], raw: object, origin: str, prefix: str = "") -> Model:
    """Validate `raw` as `model`; `origin` names its file in the message.

    Raises:
        UserError: lists every mistake in `raw`, one line each.
    """
    try:
        return model.model_validate({} if raw is None else raw)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        lines = [_message(item, model, prefix) for item in mistakes if not _consequence(item, mistakes)]
        raise UserError(
            "\n  ".join([f"{origin} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:", *lines])
        ) from None
