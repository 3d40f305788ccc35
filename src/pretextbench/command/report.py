"""`pretextbench report`: the answer, in a browser."""

from typing import Annotated

import typer

from pretextbench.command.project import root
from pretextbench.errors import UserError

REPORT = "reports/report.html"


def report(
    path: Annotated[bool, typer.Option("--path", help="Print where the report is, and open nothing.")] = False,
) -> None:
    """Open the report: which method to use, how sure that is, at what cost, and how to get it again.

    It is one file that needs no network: send it to anyone.

    **Examples**

    * `pretextbench report`: opens it in the browser
    * `cp "$(pretextbench report --path)" ~/answer.html`: takes a copy
    """
    found = root() / REPORT
    if not found.is_file():
        raise UserError(f"There is no report yet: {found}. `pretextbench run` makes it.")
    if path:
        typer.echo(found)
        return
    import webbrowser

    if webbrowser.open(found.as_uri()):
        typer.echo(f"opened {found}")
    else:
        typer.echo(f"No browser is found here. Open it yourself, or copy it to where there is one:\n{found}")
