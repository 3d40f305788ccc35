"""The command line as a whole: its subcommands, and the messages for mistakes."""

import errno
import io
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer

from pretextbench.base.files import REASONS
from pretextbench.base.names import plain
from pretextbench.command import doctor, embed, init, methods, neighbours, plugin, project
from pretextbench.command.help_page import FIRST_STEPS, Command, Group
from pretextbench.errors import UserError
from pretextbench.project.environment import quiet_tools

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
ALSO = dict.fromkeys((errno.EACCES, errno.EPERM), "no permission: change the permissions or the place")  # or to read
MISUSE: Any = typer.BadParameter.__mro__[2]  # ClickException; Typer carries a Click of its own, under a private name

app = typer.Typer(
    name="pretextbench",
    cls=Group,
    help="Which self-supervised pretext task should you use on your images?",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pretextbench {metadata.version('pretextbench')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)]


@app.callback()
def command(version: Version = False) -> None:
    """Which self-supervised pretext task should you use on your images?"""


COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Compare methods on your images": {"init": init.init, "run": project.run, "report": project.report},
    "Look closer": {"ui": project.ui, "doctor": doctor.doctor},
    "Use an encoder": {"embed": embed.embed, "neighbours": neighbours.neighbours, "export": embed.export},
    "Methods": {"new": plugin.new, "check": plugin.check},
}
for panel, functions in COMMANDS.items():
    for name, function in functions.items():
        app.command(name, cls=Command, rich_help_panel=panel)(function)
app.add_typer(methods.app, name="methods", rich_help_panel="Methods")


def run(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status; Ctrl-C is 130, or KeyboardInterrupt, without a message."""
    quiet_tools()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks must not end the command
        stream.reconfigure(errors="backslashreplace") if isinstance(stream, io.TextIOWrapper) else None
    try:
        return int(app(argv, prog_name=app.info.name, standalone_mode=False) or 0)
    except MISUSE as error:
        return _misused(error)
    except typer.Abort:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt from None
    except UserError as error:
        return _say(str(error), 2)
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        return _say(f"{error.filename or 'writing'}: {ALSO.get(error.errno) or REASONS[error.errno]}.", 2)


def _misused(error: Any) -> int:
    """Print which argument is not understood, and where the help is."""
    message = error.format_message().strip().replace("Value error, ", "")  # a word of pydantic
    if not message:  # no words at all: the help has been shown
        return 2
    command = error.ctx.command_path if getattr(error, "ctx", None) else app.info.name
    stop = "" if message.endswith((".", "?")) else "."
    return _say(f"{message}{stop} `{command} --help` shows what is allowed.", 2)


def _say(message: str, code: int) -> int:
    typer.echo(f"error: {plain(message)}", err=True)
    return code
