"""Rows of a comparison by name: methods, their variants, and methods at other budgets.

A variant is a row of its own, with other parameters or without the start weights:

    compare: {methods: [simclr, simclr-scratch]}
    methods: {simclr-scratch: {method: simclr, from_scratch: true}}

The section of a row in `methods` holds the method's own parameters, and the two fields of `Variant`. The row of simclr
at a budget of `compare.budgets` is `simclr-96000` in the names of stages and folders.
"""

from collections.abc import Container
from typing import Any, NamedTuple, get_args

from pydantic import Field

from pretextbench import registry
from pretextbench.base.section import MethodName, Section, parse
from pretextbench.errors import UserError, nearest
from pretextbench.params import Compare, Control, EncoderParams, Params

ORIGIN = "params.yaml"
UNTRAINED = ("random", "pixels", "untouched")


class Variant(Section):
    """Fields of a row that no method has as parameters."""

    method: MethodName | None = Field(None, description="of the row; null = the one that has the row's name")
    from_scratch: bool = Field(False, description="train from random weights, whatever encoder.weights says")


class Row(NamedTuple):
    """A row of `compare.methods` or `compare.controls`: its method, its encoder, and its section for the method."""

    method: str
    from_scratch: bool
    encoder: EncoderParams
    own: dict[str, Any]


def row_of(name: str, params: Params) -> Row:
    """The row with this name.

    Raises:
        UserError: a field of the variant has a mistake.
    """
    section = dict(params.methods.get(name) or {})
    fields = {key: section.pop(key) for key in Variant.model_fields if key in section}
    variant = parse(Variant, fields, ORIGIN, f"methods.{name}")
    return Row(variant.method or name, variant.from_scratch, encoder_of(variant.from_scratch, params.encoder), section)


def encoder_of(from_scratch: bool, encoder: EncoderParams) -> EncoderParams:
    """The encoder of a row: without start weights and their normalisation where it is trained from scratch."""
    return encoder.model_copy(update={"weights": None}) if from_scratch else encoder


def at_budget(name: str, images: int) -> str:
    """The name of a row's stages and folders at another budget than that of `pretrain`."""
    return f"{name}-{images}"


def budget_of(name: str, rows: Container[str]) -> tuple[str, int | None]:
    """The row that `name` belongs to, and its budget in images; None where it is the one of `pretrain`.

    `rows`: the names of all rows, of which none is that of another at a budget: see `check_names`.
    """
    row, _, images = name.rpartition("-")
    return (row, int(images)) if name not in rows and row in rows and images.isdecimal() else (name, None)


def check_names(params: Params) -> None:
    """Check the names of methods, controls and variants.

    Raises:
        UserError: a section of `methods` belongs to nothing installed or to no possible variant, or a control stands
            among the methods or a method among the controls.
    """
    for name in params.methods:
        _check_section(name, params)
    _check_budget_names(params.compare)
    controls = get_args(Control)
    among = sorted(name for name in params.compare.methods if row_of(name, params).method in controls)
    if among:
        raise UserError(f"{ORIGIN}: compare.methods names {among}, which belong under compare.controls.")
    for name in params.compare.controls:
        if row_of(name, params).method not in controls:
            raise UserError(
                f"{ORIGIN}: compare.controls: {name!r} is no control.{nearest(name, controls)} Allowed: "
                f"{', '.join(controls)}, and rows whose section in `methods` says `method: supervised`."
            )


def _check_budget_names(compare: Compare) -> None:
    """No row has the name that another gets at a budget."""
    taken = {at_budget(name, images): name for name in compare.methods for images in compare.budgets}
    for name in (*compare.methods, *compare.controls, *compare.references):
        if name in taken:
            raise UserError(
                f"{ORIGIN}: {name!r} is a row of its own, and the name of {taken[name]!r} at a budget of "
                "compare.budgets. Rename the row."
            )


def _check_section(name: str, params: Params) -> None:
    row, installed = row_of(name, params), registry.available()
    if row.method not in installed:
        place, known = f"{name}.method" if row.method != name else name, ", ".join(installed)
        raise UserError(
            f"{ORIGIN}: methods.{place}: no such method.{nearest(row.method, installed)} Installed: {known}."
        )
    if row.method != name and name in installed:
        raise UserError(
            f"{ORIGIN}: methods.{name}.method is {row.method!r}, and {name!r} is a method itself. Give the row another "
            f"name, such as {row.method}-2."
        )
    if row.method in UNTRAINED and (row.method != name or row.from_scratch):
        raise UserError(f"{ORIGIN}: methods.{name}: {row.method!r} is not trained, so there is no variant of it.")
    if row.from_scratch and not params.encoder.weights:
        raise UserError(
            f"{ORIGIN}: methods.{name}.from_scratch is true, and encoder.weights is null: all rows start from random "
            "weights. Take it out, or name start weights."
        )
