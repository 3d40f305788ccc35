"""MLflow's web server for `pretextbench ui`: `python -m pretextbench.track.web --host HOST --port PORT`, in a project.

It is MLflow's own application in one process, without its job runner and its start-up messages. Its first page gets a
script: the plain address leads to the newest comparison, and MLflow does not open with its pages for language models,
or with its assistant, unless the browser has stored another choice.
"""

import argparse
import json
import logging
import os
import threading
import warnings
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretextbench.errors import UserError
from pretextbench.track import charts, store

NO_BROWSER = "No browser is found here. Open the address yourself."
STORED = {  # of the browser's local storage -> value where there is none
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}


def script(page: str) -> str:
    """The script of the first page. `page`: where it leads, beginning with `#`."""
    return (
        f"<script>for (const [name, value] of Object.entries({json.dumps(STORED)}))"
        " if (localStorage.getItem(name) === null) localStorage.setItem(name, value);"
        f" if (location.hash.length < 3) location.replace({json.dumps(page)});</script>"
    )


def with_script(html: str, page: str) -> str:
    """MLflow's page with the script before its own; unchanged if it has no head."""
    return html.replace("<head>", f"<head>{script(page)}", 1)


def application(uri: str) -> Any:
    """MLflow's application on the store at `uri`.

    Raises:
        UserError: MLflow cannot open the store.
    """
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # jobs are for language models; it starts processes
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: "./mlartifacts",
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }  # before the application is imported: it reads them then
    from mlflow.server import app, handlers
    from mlflow.server.fastapi_app import app as whole

    try:
        handlers.initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    except Exception as error:  # of a database's driver, of MLflow
        from pretextbench.track.delivery import explain

        raise UserError(f"MLflow cannot open its store: {explain(error)}") from error
    index = Path(str(app.static_folder)) / "index.html"
    file = store.file_path(uri)
    page: Callable[[], str] = (lambda: charts.page(str(file))) if file else (lambda: charts.TABLE)
    app.view_functions["serve"] = lambda: with_script(index.read_text(encoding="utf-8"), page())
    return whole


def main() -> int:
    """Serve until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pretextbench.track.web", description="Serve MLflow's pages.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of MLflow's packages, to their authors
    logging.disable(logging.INFO)
    import uvicorn

    try:
        config = uvicorn.Config(application(store.address(Path())), options.host, options.port, log_level="warning")
        server = uvicorn.Server(config)
        if options.browser:
            threading.Thread(target=_open, args=(server, f"http://{options.host}:{options.port}"), daemon=True).start()
        server.run()
    except UserError as error:
        print(f"error: {error}")  # noqa: T201
        return 1
    except KeyboardInterrupt:  # uvicorn raises it again when the server has ended
        pass
    return 0


def _open(server: Any, page: str) -> None:
    """Open the page once the server answers; without a browser say so."""
    ended = threading.Event()
    while not (server.started or server.should_exit):
        ended.wait(0.05)
    if server.started and not webbrowser.open(page):
        print(NO_BROWSER, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
