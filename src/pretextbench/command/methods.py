"""`pretextbench methods`: the installed methods, and a description of each."""

import dataclasses
import json
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretextbench.base.names import plain
from pretextbench.command.console import console, table, verdict
from pretextbench.command.help_page import Command, Group
from pretextbench.errors import PluginError

if TYPE_CHECKING:
    from rich.table import Table

    from pretextbench.registry import Plugin


def names() -> list[str]:
    """The names of all installed methods and controls: for the completion of the shell, so nothing is imported."""
    from pretextbench import registry

    return list(registry.available())


NAME_WORDS = 3  # at most, of a method's name before the colon of its title
NARROW = 90  # columns of a terminal, below which a method is its name and its task
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of a table.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name from `pretextbench methods`.", autocompletion=names)]
app = typer.Typer(cls=Group, rich_markup_mode="markdown", invoke_without_command=True)


@dataclass(frozen=True)
class State:
    """One entry point under a name: its distribution, and why it cannot be used, if so."""

    name: str
    target: str
    distribution: str
    version: str
    api: int | None  # None where the class could not be looked at
    problem: str  # empty when the method can be used
    title: str = ""  # first line of its docstring


@app.callback()
def methods(context: typer.Context, as_json: Json = False) -> None:
    """List the installed pretext methods and controls, also those that cannot be used, with the reason.

    A method is a plugin: a distribution with an entry point in the group `pretextbench.methods`.

    **Examples**

    * `pretextbench methods`: a table of name, distribution, version, API, and ok or why not
    * `pretextbench methods show simclr`: formula, parameters, augmentation and paper of one
    * `pretextbench methods --json`: the same for a program
    """
    if context.invoked_subcommand is None:
        listing = states()
        _print_json([dataclasses.asdict(state) for state in listing]) if as_json else _print(listing)


def states() -> list[State]:
    """Every claim on every name, judged; sorted by name."""
    from pretextbench import registry

    return [_state(claim, len(claims)) for claims in registry.available().values() for claim in claims]


def _state(plugin: "Plugin", claims: int) -> State:
    from pretextbench import registry
    from pretextbench.command.describe import title_and_formula
    from pretextbench.params import NAME

    own = (plugin.name, plugin.target, plugin.distribution, plugin.version)
    if claims == 1 and not re.match(NAME, plugin.name):
        return State(*own, None, "the name cannot stand in params.yaml: lower-case letters, digits and single dashes")
    try:
        method = registry.load(plugin.name)
    except PluginError as error:
        return State(*own, None, str(error).removeprefix(f"{plugin} "))
    return State(*own, method.api_version, "", title_and_formula(method)[0])


def _print(listing: list[State]) -> None:
    out, broken = console(), sum(bool(state.problem) for state in listing)
    out.print(_short(listing) if out.width < NARROW else _whole(listing))
    if broken:
        out.print(f"\n{broken} cannot be used. A comparison that names one of them stops and says so.")
    out.print("\nMore about one: pretextbench methods show NAME")


@app.command(cls=Command)
def show(
    name: Name,
    image_size: Annotated[
        int,
        typer.Option(min=8, max=1024, help="Side in pixels that the augmentation is shown for."),
    ] = 32,
    as_json: Json = False,
) -> None:
    """Show what a method minimises, its parameters with defaults and ranges, its augmentation and its paper.

    What is shown is read from the installed code: the formula from its docstring, the rest from its classes. To change
    a parameter, write it under `methods` in params.yaml: `methods: {simclr: {temperature: 0.5}}`.

    **Examples**

    * `pretextbench methods show rotation`
    * `pretextbench methods show simclr --image-size 96`: with blur, which small images do not get
    """
    from pretextbench import registry

    method = registry.load(name)
    facts = _facts(method, name, image_size)
    _print_json(facts) if as_json else _print_one(facts)


def _whole(listing: list[State]) -> "Table":
    rows = table("name", "distribution", "version", "API", "", "task, or why it cannot be used")
    for state in listing:
        text = plain(state.problem or state.title)
        mark = verdict("fault" if state.problem else "ok")
        api = "?" if state.api is None else str(state.api)
        rows.add_row(plain(state.name), plain(state.distribution), plain(state.version), api, mark, text)
    return rows


def _short(listing: list[State]) -> "Table":
    """Name and task without the paper: a line or two for each method on a narrow terminal."""
    from rich.text import Text

    rows = table("name", "task, or why it cannot be used")
    for state in listing:
        fault = Text.assemble(verdict("fault"), " ", plain(state.problem))
        rows.add_row(plain(state.name), fault if state.problem else _task(plain(state.title)))
    return rows


def _task(title: str) -> str:
    """A title without the name before it, or without what explains it, and without the paper."""
    name, _, text = title.partition(": ")
    text = text if text and len(name.split()) <= NAME_WORDS else name
    text = re.sub(r" \([^()]*\d{4}[^()]*\)\.?$", "", text)
    return text.removesuffix(".")


def _facts(method: type[Any], name: str, image_size: int) -> dict[str, Any]:
    from pretextbench import registry
    from pretextbench.command.describe import parameters, recipe, title_and_formula

    plugin, (title, formula) = registry.find(name), title_and_formula(method)
    return {
        **dataclasses.asdict(plugin),
        "api": method.api_version,
        "title": title,
        "formula": formula,
        "reference": method.reference,
        "parameters": [dataclasses.asdict(parameter) for parameter in parameters(method.Params)],
        "image_size": image_size,
        "augmentation": recipe(method, method.Params(), image_size),
    }


def _print_one(facts: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"{facts['name']} ({facts['target']}, from {facts['distribution']} {facts['version']}, API {facts['api']})"
    )
    out.print(plain(facts["title"]))
    out.print("\nMinimises", style="bold")
    out.print(textwrap.indent(plain(facts["formula"] or "no formula in its docstring"), "  "))
    rows = table("parameter", "default", "allowed", "what it is")
    for row in facts["parameters"]:
        default = json.dumps(row["default"], default=str)
        rows.add_row(plain(row["name"]), default, row["allowed"], plain(row["description"]))
    out.print("\nParameters", style="bold")
    out.print(rows)
    out.print(f"\nAugmentation at {facts['image_size']} px", style="bold")
    for line in facts["augmentation"]:
        out.print(f"  {plain(line)}")
    out.print("\nReference", style="bold")
    out.print(f"  {plain(facts['reference'] or 'none given')}")


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))
