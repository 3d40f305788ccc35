"""The project that a command acts in, and the commands `run`, `report` and `ui`: its pipeline, its results."""

import inspect
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pretextbench.command.methods import names
from pretextbench.errors import UserError
from pretextbench.project.addresses import split_login, without_secrets
from pretextbench.project.environment import require_pipeline
from pretextbench.project.layout import PRETRAINED, REPORT, require_plain_path
from pretextbench.project.run_options import OPTIONS, TARGETS, Option, command_line

MARKS = ("dvc.yaml", "stages", "pipelines")  # what a checkout has and another DVC project has not
GET = (
    "A project is a checkout of pretextbench's repository: clone it, run `uv sync` in it, go into it with `cd`, and "
    "type the command again."
)


def root(start: Path | None = None) -> Path:
    """The nearest folder upwards from `start` (default: the working folder) that holds dvc.yaml.

    Raises:
        UserError: there is none, or it is the project of another program; says how to get one. Or MLflow and Prefect
            would read its path as another one.
    """
    base = _working_folder() if start is None else start.resolve()
    folder = next((folder for folder in (base, *base.parents) if (folder / MARKS[0]).is_file()), None)
    if folder is None:
        raise UserError(f"{base} is not inside a project: neither it nor a folder above it holds dvc.yaml. {GET}")
    require_plain_path(folder)
    missing = [name for name in MARKS[1:] if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"{folder / MARKS[0]} is not pretextbench's: the folder has no {missing[0]}/. {GET}")
    return folder


def results() -> Path:
    """The nearest folder upwards that holds trained encoders: a project, or the folder of `compare`.

    Raises:
        UserError: there is none, and no project that could have some.
    """
    base, marks = _working_folder(), (PRETRAINED, MARKS[0])
    nearest = next((folder for folder in (base, *base.parents) if any((folder / m).exists() for m in marks)), base)
    return nearest if (nearest / PRETRAINED).is_dir() else root()


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UserError("The working folder has been removed. Go into another one with `cd`.") from None


def become(module: str, arguments: list[str]) -> None:
    """Turn this process into `python -m module` in the project: Ctrl-C reaches it once, its exit status is ours."""
    os.chdir(root())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def run(targets: list[str] | None, **options: Any) -> None:
    """Bring the comparison up to date: run the stages that a change made stale, and nothing else.

    DVC decides what is stale and stores outputs; Prefect orders the stages, runs them in parallel and retries. If a run
    is killed, the next one continues from the last checkpoint. Ends with a table of the stages and, if all are current,
    with the answer of the comparison. Exit status 0 all current, 2 a mistake of yours, 1 something failed, 130 Ctrl-C.

    **Examples**

    * `pretextbench run`: everything that is stale
    * `pretextbench run --jobs 2`: two stages in parallel, each with its share of the cores
    * `pretextbench run --dry-run`: what is stale, and why
    * `pretextbench run --only rotation`: what this method needs, without the comparison
    * `pretextbench run --dask local`: on Dask workers of this machine
    * `pretextbench run pretrain@simclr-0`: one stage of dvc.yaml, and what it needs
    """
    require_pipeline()
    become("pipelines.run", command_line(options, targets or []))


def _parameter(option: Option) -> inspect.Parameter:
    """The parameter by which Typer declares an option."""
    info = typer.Option(
        option.flag,
        metavar=option.metavar,
        min=option.minimum,
        help=option.help,
        show_default=False,
        autocompletion=names if option.name == "only" else None,
    )
    kind: Any = bool if option.kind is bool else option.kind | None
    annotation = Annotated[kind, info]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=annotation)


def _declared_options() -> inspect.Signature:
    """The signature of `run`, which Typer reads: TARGET and the table of options."""
    target = Annotated[list[str] | None, typer.Argument(metavar="TARGET", help=TARGETS)]
    first = inspect.Parameter("targets", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=target)
    return inspect.Signature([first, *map(_parameter, OPTIONS)])


_signature = _declared_options()
run.__signature__ = _signature  # type: ignore[attr-defined]
run.__annotations__ = {name: parameter.annotation for name, parameter in _signature.parameters.items()}


def report(
    path: Annotated[bool, typer.Option("--path", help="Print where the report is, and open nothing.")] = False,
) -> None:
    """Open the report: which method to use, how sure that is, at what cost, and how to get it again.

    It is one file that needs no network: send it to anyone.

    **Examples**

    * `pretextbench report`: opens it in the browser
    * `cp "$(pretextbench report --path)" ~/answer.html`: takes a copy
    """
    file = results() / REPORT
    if not file.is_file():
        raise UserError(f"There is no report yet: {file}. `pretextbench run` makes it.")
    if path:
        typer.echo(file)
        return
    import webbrowser

    if webbrowser.open(file.as_uri()):
        typer.echo(f"opened {file}")
    else:
        typer.echo(f"No browser is found here. Open it yourself, or copy it to where there is one:\n{file}")


HIGHEST = 65_535
HOST = "127.0.0.1"  # this machine only: MLflow has no password


def ui(
    port: Annotated[int, typer.Option(min=1, max=HIGHEST, help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Open MLflow on the record of this project: the methods compared, every run with its history and pictures.

    Runs until Ctrl-C. Only this machine can reach it. Where MLFLOW_TRACKING_URI names a server, that server has the
    record: its page is opened, and nothing is started.

    **Examples**

    * `pretextbench ui`: opens the newest comparison in the browser
    * `pretextbench ui --no-browser`: prints the address only
    * `pretextbench ui --port 5001`: where 5000 is taken
    """
    from pretextbench.track import store, web

    require_pipeline()
    place = root()
    uri = store.address(place)
    if refused := store.refusal(uri):
        raise UserError(f"MLFLOW_TRACKING_URI is {without_secrets(uri)}: it {refused}. {store.ALLOWED}.")
    if uri.startswith(("http://", "https://")):
        _open_server(uri, browser)
        return
    file = store.file_path(uri)
    if file and not file.exists():
        raise UserError(f"There is no record yet: {file}. `pretextbench run` makes it.")
    if other := store.other_schema(uri):
        raise UserError(other)
    free(port)
    typer.echo(f"http://{HOST}:{port}\n(answers in some seconds; Ctrl-C ends it)")
    become(web.__name__, ["--host", HOST, "--port", str(port), *(["--browser"] if browser else [])])


def _open_server(uri: str, browser: bool) -> None:
    """Name the server at `uri`, and open its page without user and password: the browser asks for them."""
    import webbrowser

    from pretextbench.track.charts import TABLE
    from pretextbench.track.web import NO_BROWSER

    shown, bare = (address.rstrip("/") for address in (without_secrets(uri), split_login(uri).bare))
    typer.echo(f"MLFLOW_TRACKING_URI names a server, which has the record:\n{shown}/{TABLE}")
    if browser and not webbrowser.open(f"{bare}/{TABLE}"):
        typer.echo(NO_BROWSER)


def free(port: int) -> None:
    """Make sure that a server can listen on the port.

    Raises:
        UserError: another process does already, or it may not be used; another port is offered.
    """
    if trouble := _trouble(port):
        free_port = next(
            (p for p in (*range(port + 1, min(port + 50, HIGHEST)), *range(5000, 5050)) if not _trouble(p)), None
        )
        offer = f" Port {free_port} is free: `pretextbench ui --port {free_port}`." if free_port else ""
        raise UserError(f"Port {port} of {HOST} {trouble}.{offer}")


def _trouble(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except PermissionError:
            return "may be used by the administrator alone"
        except OSError:
            return "is in use by another program"
    return ""
