"""The command `pretextbench`: one module per subcommand, each thin over the library.

Modules here import torch, MLflow and the like inside their functions: `pretextbench --help` must answer at once.
Exit status: 0 done; 2 a mistake of the user or of the machine, told in one message; 1 a fault of ours; 130 Ctrl-C.
"""

import errno
import os
import sys

import click
import typer

from pretextbench import quiet
from pretextbench.errors import UserError
from pretextbench.files import REASONS

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

app = typer.Typer(
    name="pretextbench",
    help="Which self-supervised pretext task should you use on your images?",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def command() -> None:
    """Which self-supervised pretext task should you use on your images?"""


def main(words: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    quiet.apply()
    try:
        return int(app(words, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        return _say("stopped by Ctrl-C.", 130)
    except KeyboardInterrupt:
        return _say("stopped by Ctrl-C.", 130)
    except UserError as error:
        return _say(str(error), 2)
    except BrokenPipeError:  # `pretextbench methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        return _say(f"{error.filename or 'writing'}: {REASONS.get(error.errno or 0, error.strerror)}.", 2)


def _say(message: str, code: int) -> int:
    typer.echo(f"error: {message}", err=True)
    return code
