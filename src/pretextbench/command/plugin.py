"""`pretextbench new` writes a plugin; `pretextbench check` judges it."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretextbench.base.names import plain
from pretextbench.command import project
from pretextbench.command.console import COLOURS, console, table
from pretextbench.command.methods import names
from pretextbench.errors import PluginError, UserError

if TYPE_CHECKING:
    from pretextbench.testing import Verdict

STYLES = {"ok": COLOURS["ok"], "skipped": COLOURS["warning"], "failed": COLOURS["fault"]}
Name = Annotated[
    str | None,
    typer.Argument(metavar="[METHOD]", help="A name from `pretextbench methods`; all when none.", autocompletion=names),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of tables.")]


def check(method: Name = None, as_json: Json = False) -> None:
    """Check that a method keeps the contract: the kit that judges every method, yours and the built-in ones.

    Each check is ok, skipped with the reason, or failed with the finding and the remedy. It takes seconds on a
    CPU. Exit status: 0 when nothing failed, 1 when something did, 2 when the method cannot be used at all.

    **Examples**

    * `pretextbench check rotation`
    * `pretextbench check`: every installed method
    * `pretextbench check --json`: the same for a program
    """
    failed, everything = False, {}
    for name in [method] if method else _methods():
        verdicts = _judge(name, alone=method is not None, quiet=as_json)
        failed = failed or any(verdict.state == "failed" for verdict in verdicts)
        everything[name] = [dataclasses.asdict(verdict) for verdict in verdicts]
        if not as_json:
            _print(name, verdicts)
    if as_json:
        typer.echo(json.dumps(everything, indent=2))
    raise typer.Exit(int(failed))


def _methods() -> list[str]:
    """The installed methods that are no controls of the library."""
    from pretextbench import registry

    methods = registry.available().items()
    verdicts = [
        name for name, claims in methods if any(plugin.distribution != registry.OWN_DISTRIBUTION for plugin in claims)
    ]
    if not verdicts:
        raise UserError("No pretext method is installed. `pretextbench new NAME` writes one.")
    return verdicts


def _judge(name: str, alone: bool, quiet: bool) -> "list[Verdict]":
    """The verdicts on one method; one that cannot be loaded ends the command when it is the only one."""
    import torch

    from pretextbench import registry
    from pretextbench.testing import CHECKS, Verdict, judge

    try:
        method = registry.load(name)
        if registry.find(name).distribution == registry.OWN_DISTRIBUTION:
            raise UserError(f"{name!r} is a control, not a pretext method: the kit does not judge it.")
    except PluginError as error:
        if alone:
            raise
        return [
            Verdict("loads", "The method can be imported.", "failed", 0.0, str(error), "See `pretextbench methods`")
        ]
    torch.set_num_threads(1)  # the networks of the kit are too small to share
    out = console()
    with out.status(f"{name} ...") if out.is_terminal and not quiet else contextlib.nullcontext():
        return list(judge(method, CHECKS))


def _print(name: str, verdicts: "list[Verdict]") -> None:
    from rich.text import Text

    out, rows = console(), table("check", "what it means", "", "seconds")
    for verdict in verdicts:
        state = Text(verdict.state, style=STYLES[verdict.state])
        rows.add_row(verdict.check, plain(verdict.meaning), state, f"{verdict.seconds:.2f}")
    out.print(plain(name), style="bold")
    out.print(rows)
    for verdict in verdicts:
        if verdict.state == "skipped":
            out.print(f"\n{verdict.check} was skipped: {plain(verdict.found)}.")
        if verdict.state == "failed":
            out.print(f"\n{verdict.check} failed: {plain(verdict.found)}.", style=STYLES["failed"])
            out.print(f"  What to do: {plain(verdict.hint)}.")
    counts = {state: sum(verdict.state == state for verdict in verdicts) for state in STYLES}
    out.print("\n" + plain(name) + ": " + ", ".join(f"{count} {state}" for state, count in counts.items()) + "\n")


Into = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder that will hold the folder METHOD. Default: plugins/, or here."),
]
TwoViews = Annotated[
    bool, typer.Option("--two-views", help="Start from a method that compares two views of each image.")
]


def new(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Its name: lower case, digits and single dashes.")],
    into: Into = None,
    two_views: TwoViews = False,
) -> None:
    """Write a new pretext method: a complete distribution that installs, passes its checks and can be ranked as it is.

    Inside a project it is written to plugins/METHOD, elsewhere to ./METHOD. Nothing that exists is touched.

    **Examples**

    * `pretextbench new mean-colour`
    * `pretextbench new mean-colour --into ~/methods`
    * `pretextbench new align-uniform --two-views`
    """
    from pretextbench import scaffold

    home = _project()
    folder = _typed_path((into if into is not None else home / "plugins" if home else Path()) / method)
    files = scaffold.write(method, folder, two_views)
    member = home is not None and folder.resolve().parent == home / "plugins"
    out = console()
    out.print("Written:")
    for file in files:
        out.print(f"  {file}")
    out.print("\nType next:")
    for command, purpose in _next_commands(method, folder, member):
        out.print(f"  {command:<52}  # {purpose}")
    out.print(f"\nTo rank it, add {method} to compare.methods in params.yaml, and type")
    out.print(f"  {'uv run ' if member else ''}pretextbench run")
    out.print(f"\nTo make it yours, change loss() in {files[2]}, and check again.")


def _project() -> Path | None:
    try:
        return project.root()
    except UserError:
        return None


def _typed_path(folder: Path) -> Path:
    """The path relative to the working folder if it is below it, so that printed commands can be typed."""
    whole = folder.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _next_commands(method: str, folder: Path, member: bool) -> list[tuple[str, str]]:
    """Commands, and what each is for."""
    distribution, run = f"pretext-{method}", "uv run " if member else ""
    install = f"uv add --group methods {distribution}" if member else f"uv pip install -e {folder}"
    return [
        (install, "installs it; uv keeps it" if member else "installs it; pip install -e does the same"),
        (f"{run}pretextbench check {method}", "the kit that judges every method"),
        (f"{run}pytest {folder}", "its own tests, the kit among them"),
    ]
