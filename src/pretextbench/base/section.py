"""A group of parameters; all mistakes in it are reported at once, with the nearest allowed name."""

from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pretextbench.base.names import printable
from pretextbench.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)


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
    """Whether true and false are values of a type, or of what it holds."""
    return annotation in (bool, Any) or any(_takes_bool(part) for part in get_args(annotation))


def _known(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at `path`."""
    for part in path:
        annotation = getattr(model, "model_fields", {}).get(part)
        model = annotation.annotation if annotation is not None else None
    return list(getattr(model, "model_fields", {}))


def _message(error: Any, model: type[BaseModel], prefix: str) -> str:
    """One line for one mistake: its key, the value found, the values allowed."""
    path = tuple(error["loc"])
    key = printable(".".join([prefix, *map(str, path)] if prefix else list(map(str, path)))) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known(model, path[:-1])
        return f"{key}: unknown key.{nearest(str(path[-1]), known)} Allowed: {', '.join(known)}."
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        message += "; put it into quotes"
    value = "" if isinstance(error["input"], dict) else f" (found {error['input']!r:.80})"
    return printable(f"{key}: {message}{value}.")


def _consequence(error: Any, others: list[Any]) -> bool:
    """Whether a tuple is too short only because pydantic has taken out its wrong items, each a mistake of its own."""
    path = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in others
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
        raise UserError("\n  ".join([f"{origin} has {len(lines)} mistake(s):", *lines])) from None
