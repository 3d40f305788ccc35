"""`pretextbench new`: the files of a new method, and what to type next."""

from pathlib import Path
from typing import Annotated

import typer

from pretextbench.command import project
from pretextbench.command.console import console
from pretextbench.errors import UserError

Into = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder that will hold the folder METHOD. Default: plugins/, or here."),
]


def new(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Its name: lower case, digits and single dashes.")],
    into: Into = None,
) -> None:
    """Write a new pretext method: a complete distribution that installs, passes its checks and can be ranked as it is.

    Inside a project it is written to plugins/METHOD, elsewhere to ./METHOD. Nothing that exists is touched.

    **Examples**

    * `pretextbench new mean-colour`
    * `pretextbench new mean-colour --into ~/methods`
    """
    from pretextbench import scaffold

    home = _project()
    folder = _near((into if into is not None else home / "plugins" if home else Path()) / method)
    files = scaffold.write(method, folder)
    member = home is not None and folder.resolve().parent == home / "plugins"
    out = console()
    out.print("Written:")
    for file in files:
        out.print(f"  {file}")
    out.print("\nType next:")
    for command, purpose in _next(method, folder, member):
        out.print(f"  {command:<52}  # {purpose}")
    out.print(f"\nTo rank it, add {method} to compare.methods in params.yaml, and type")
    out.print(f"  {'uv run ' if member else ''}pretextbench run")
    out.print(f"\nTo make it yours, change loss() in {files[2]}, and check again.")


def _project() -> Path | None:
    try:
        return project.root()
    except UserError:
        return None


def _near(folder: Path) -> Path:
    """As seen from the working folder, where it lies below it: what is printed can then be typed."""
    whole = folder.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _next(method: str, folder: Path, member: bool) -> list[tuple[str, str]]:
    """Commands, and what each is for."""
    distribution, run = f"pretext-{method}", "uv run " if member else ""
    install = f"uv add --group methods {distribution}" if member else f"uv pip install -e {folder}"
    return [
        (install, "installs it; uv keeps it" if member else "installs it; pip install -e does the same"),
        (f"{run}pretextbench check {method}", "the kit that judges every method"),
        (f"{run}pytest {folder}", "its own tests, the kit among them"),
    ]
