"""`pretextbench report` and `pretextbench ui`: open the results of a project."""

import os
import socket
from typing import Annotated

import typer

from pretextbench.command.project import become, root
from pretextbench.errors import UserError
from pretextbench.project.addresses import split_login, without_secrets
from pretextbench.project.environment import require_pipeline
from pretextbench.project.layout import REPORT


def report(
    path: Annotated[bool, typer.Option("--path", help="Print where the report is, and open nothing.")] = False,
) -> None:
    """Open the report: which method to use, how sure that is, at what cost, and how to get it again.

    It is one file that needs no network: send it to anyone.

    **Examples**

    * `pretextbench report`: opens it in the browser
    * `cp "$(pretextbench report --path)" ~/answer.html`: takes a copy
    """
    file = root() / REPORT
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
LOOPBACK = "127.0.0.1"  # nobody else on the network: MLflow asks for no password


def ui(
    port: Annotated[int, typer.Option(min=1, max=HIGHEST, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open MLflow on the record of this project: the methods compared, every run with its history and pictures.

    Runs until Ctrl-C. Only this machine can reach it. Where MLFLOW_TRACKING_URI names a server, that server has the
    record: its address is printed, and nothing is started.

    **Examples**

    * `pretextbench ui`: then open the address that it prints
    * `pretextbench ui --port 5001`: where 5000 is taken
    """
    from pretextbench.track import store
    from pretextbench.track.charts import TABLE, page

    require_pipeline()
    place = root()
    uri = store.address(place)
    if refused := store.refusal(uri):
        raise UserError(f"MLFLOW_TRACKING_URI is {without_secrets(uri)}: it {refused}. {store.ALLOWED}.")
    if uri.startswith(("http://", "https://")):
        typer.echo(
            f"MLFLOW_TRACKING_URI names a server, which has the record:\n{without_secrets(uri).rstrip('/')}/{TABLE}"
        )
        return
    file = uri.removeprefix("sqlite:///")
    if uri != file and not os.path.exists(file):
        raise UserError(f"There is no record yet: {file}. `pretextbench run` makes it.")
    free(port)
    typer.echo(f"http://{LOOPBACK}:{port}/{page(file)}\n(answers in some seconds; Ctrl-C ends it)")
    quietly = ["--uvicorn-opts", "--log-level warning", "--workers", "1"]
    backend = ["--backend-store-uri", uri]
    if split_login(uri).password:  # every user of the machine can read a command line
        os.environ["MLFLOW_BACKEND_STORE_URI"], backend = uri, []
    become("mlflow", ["ui", *backend, "--host", LOOPBACK, "--port", str(port), *quietly])


def free(port: int) -> None:
    """Make sure that a server can listen on the port.

    Raises:
        UserError: another process does already, or it may not be used; another port is offered.
    """
    if trouble := _trouble(port):
        other = next(
            (p for p in (*range(port + 1, min(port + 50, HIGHEST)), *range(5000, 5050)) if not _trouble(p)), None
        )
        offer = f" Port {other} is free: `pretextbench ui --port {other}`." if other else ""
        raise UserError(f"Port {port} of {LOOPBACK} {trouble}.{offer}")


def _trouble(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            return "may be used by the administrator alone"
        except OSError:
            return "is in use by another program"
    return ""
