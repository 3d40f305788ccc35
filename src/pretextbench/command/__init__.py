"""The command `pretextbench`: one module per subcommand, each thin over the library.

Modules here import torch, MLflow and the like inside their functions: `pretextbench --help` must answer at once.
Exit status: 0 done; 2 a mistake of the user or a fault of the machine, with one message; 1 a bug; 130 Ctrl-C.
"""

import sys

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        from pretextbench.command import application  # here: Ctrl-C may come while the subcommands are imported

        status = application.run(argv)
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status == INTERRUPTED:
        print("error: stopped by Ctrl-C.", file=sys.stderr)  # noqa: T201  Typer may not be there yet
    return status
