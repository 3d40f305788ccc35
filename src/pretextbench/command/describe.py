"""Description of a method as plain data: its formula, its parameters and its augmentation."""

import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pretextbench.base.section import Section

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
TYPE_NAMES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True)
class Parameter:
    """One key that params.yaml may hold under `methods.<name>`."""

    name: str  # with dots where it lies in a group: optimizer.lr
    default: Any
    allowed: str
    description: str


def parameters(model: type[Section], defaults: Section | None = None, prefix: str = "") -> Iterator[Parameter]:
    """Every parameter of a model, groups opened, with the defaults that the model itself ends with."""
    schema = model.model_json_schema()
    defaults = defaults or model()
    for name, field in model.model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, Section):
            yield from parameters(type(value), value, f"{prefix}{name}.")
        else:
            rule = schema["properties"][name]
            yield Parameter(prefix + name, value, allowed(rule, schema.get("$defs", {})), field.description or "")


def allowed(schema: Mapping[str, Any], groups: Mapping[str, Any]) -> str:
    """The type and range of a JSON schema, in words: `number > 0, <= 10`."""
    if "$ref" in schema:
        return allowed(groups.get(schema["$ref"].rpartition("/")[2], {}), groups)
    if "anyOf" in schema:
        return " or ".join(allowed(part, groups) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        size = f" of {len(schema['prefixItems'])}" if "prefixItems" in schema else ""
        return f"list{size}: {allowed(inner, groups)}"
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema)
    return f"{TYPE_NAMES.get(schema.get('type', ''), 'any')} {bounds}".strip()


def title_and_formula(method: type[Any]) -> tuple[str, str]:
    """The first line of a plugin's docstring, and its formula: the indented lines of that docstring.

    Read from the first that has a formula of the class's module, the package around it and the class itself; else from
    the first that is not empty. Either may be empty.
    """
    texts = list(_docstrings(method))
    text = next((text for text in texts if _indented(text)), texts[0] if texts else "")
    return text.split("\n", 1)[0], _indented(text)


def _docstrings(method: type[Any]) -> Iterator[str]:
    module = sys.modules.get(method.__module__)
    package = sys.modules.get(method.__module__.split(".")[0])
    own: tuple[ModuleType | None, ...] = (module, package)
    if method.__module__.startswith("pretextbench."):  # the controls share a module: the class speaks for itself
        own = ()
    for described in (*own, method):
        if described is not None and described.__doc__:
            yield inspect.cleandoc(described.__doc__)


def _indented(text: str) -> str:
    """The indented lines of a docstring, which are formulas in this project; blocks are kept apart by an empty line."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("    "):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return "\n\n".join(textwrap.dedent("\n".join(block)) for block in blocks if block)


def recipe(method: type[Any], params: Section, image_size: int) -> list[str]:
    """The augmentation, one line per operation, headed by the view that it belongs to."""
    lines = []
    for number, view in enumerate(method.recipe(params, image_size).views, 1):
        size = f", {view.size} px" if view.size else ""
        lines.append(f"view {number}, drawn {view.draws} time{'s'[: view.draws > 1]}{size}")
        lines += [f"  {_operation(op)}" for op in view.ops] or ["  the image as it is"]
    return lines


def _operation(op: Section) -> str:
    values = op.model_dump(exclude={"op"})
    return f"{getattr(op, 'op', type(op).__name__)}  " + ", ".join(f"{key} {_short(v)}" for key, v in values.items())


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " to ".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
