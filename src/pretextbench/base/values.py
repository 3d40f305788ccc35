"""Types of the values in a parameter file: bounded numbers, random seeds, label budgets, lists without repetition."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

Values = TypeVar("Values", bound=tuple[Any, ...])

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=10**12)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
RandomSeed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # strict: DVC would name a stage after 1.0 or true
OneLine = Annotated[  # a name that other programs take: no quotes, slashes, line breaks or marks of direction
    str, Field(min_length=1, max_length=100, pattern=r"^[^/:\"'%\\\p{Cc}\p{Zl}\p{Zp}\p{Bidi_C}]+$")
]

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"  # of a method: it becomes a folder, a DVC stage and a YAML key
MethodName = Annotated[str, Field(pattern=NAME, max_length=64)]  # longer names of files are made of it
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
    number, percent, rest = text.strip().partition("%")
    valid = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?" if percent else r"[0-9]{1,9}", number.rstrip()) and not rest
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
