"""`pretextbench doctor`: what could keep a run from going well here, one verdict per line, and what to fix."""

from typing import Annotated

import typer

from pretextbench.command.console import console, plain, table, verdict


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Import no plugin and no torch: an answer at once.")] = False,
) -> None:
    """Check machine, versions, devices, disk, params.yaml, store, locks and plugins, and say what to fix.

    Changes nothing. Exit status 0 when nothing is a fault (warnings are none), else 1.

    **Examples**

    * `pretextbench doctor`
    * `pretextbench doctor && pretextbench run`
    """
    from pretextbench.command.examine import examine

    out, rows, faults = console(), table("", "what", "found, and what to do"), 0
    for finding in examine(quick):
        fix = f"\n-> {finding.fix}" if finding.fix else ""
        rows.add_row(verdict(finding.verdict), plain(finding.what), plain(finding.found + fix))
        faults += finding.verdict == "fault"
    out.print(rows)
    out.print(f"\n{faults} fault(s): mend them before a run." if faults else "\nNo faults.")
    if faults:
        raise typer.Exit(1)
