"""The process of the project's Prefect server: `python -m pipelines.server_process HOME SOCKET_FD`.

It serves until it could hold HOME/users.lock alone for PRETEXTBENCH_SERVER_LINGER seconds (default 60), that is until
its last user has been gone for so long. Server and keeper are one process, so neither can outlive the other.
"""

import os
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from prefect.server.api.server import create_app

from pipelines.server import await_solitude

LINGER = float(os.environ.get("PRETEXTBENCH_SERVER_LINGER", "60"))  # seconds
FAREWELL = 5.0  # seconds that open connections get


def watch(home: Path, server: uvicorn.Server) -> None:
    """End the server when it is alone, or when the project has been removed."""
    try:
        lock = await_solitude(home, LINGER)  # held until the process ends
    except OSError:
        lock = None
    server.should_exit = True
    time.sleep(FAREWELL)
    os._exit(0 if lock else 1)


def main(home: Path, descriptor: int) -> None:
    """Serve on a socket that already listens."""
    # `ephemeral` leaves out the UI and the services that look after schedules and workers; `final`: one app only.
    config = uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    threading.Thread(target=watch, args=(home, server), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
