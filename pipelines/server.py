"""The Prefect server of a project: started on demand, stopped when it is no longer used.

Its process is `python -m pipelines.server HOME SOCKET_FD`. It serves until it could hold HOME/users.lock alone for
PRETEXTBENCH_SERVER_LINGER seconds (default 60): its last user has been gone for so long. The server and the thread that
ends it are one process, so neither can outlive the other.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pretextbench.base.files import private_log
from pretextbench.project import layout
from pretextbench.project.addresses import prefect_answers, without_secrets
from pretextbench.project.locks import Lock, locked, take

if TYPE_CHECKING:
    import uvicorn

CODE = Path(__file__).resolve().parents[1]  # the folder from which `python -m pipelines...` starts
LINGER = float(os.environ.get("PRETEXTBENCH_SERVER_LINGER", "60"))  # seconds without a user
FAREWELL = 5.0  # seconds that open connections get at the end
PATIENCE = 30.0  # seconds that a first flow waits for a server of the user's
START = 120.0  # for our own: on a busy machine it takes a minute to create its database, and one that died refuses
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"  # by default any web page open in a browser could talk to the server
_held: list[Lock] = []  # users.lock, until this process ends
_own_url: str | None = None


def folder(root: Path) -> Path:
    """Prefect's folder in this project."""
    return root.resolve() / layout.PREFECT  # absolute: the server's process works in another folder


def begin(root: Path) -> str:
    """Find or start the server and return its API address at once, maybe before it answers.

    The address is also put into the environment, which Prefect reads when it is imported.

    Raises:
        OSError: the project's folder cannot be written, or no socket can be opened.
    """
    global _own_url
    home = folder(root)
    os.environ.setdefault("PREFECT_HOME", str(home))
    if os.environ.get("PREFECT_API_URL"):
        return os.environ["PREFECT_API_URL"]
    users = take(home / "users.lock", shared=True)
    assert users is not None
    _held.append(users)
    with locked(home / "start.lock"):
        lock = take(home / "server.lock", wait=False)
        _own_url = (home / "server.url").read_text() if lock is None else _start(home, lock)
    os.environ["PREFECT_API_URL"] = _own_url
    _bypass_proxies()
    return _own_url


def owned() -> bool:
    """Whether this process uses the project's own server, not one that the user named."""
    return _own_url is not None


def silence(root: Path, url: str) -> str:
    """Why the server at `url` is not ready, as the end of a sentence for the user."""
    if owned():
        return f"its server does not answer (see {folder(root) / 'server.log'})"
    return f"no server answers at {without_secrets(url)} (PREFECT_API_URL): start it, or unset that variable"


def ready(url: str, patience: float | None = None) -> bool:
    """Wait until the server at `url` answers; false when it does not in time, or refuses."""
    end = time.monotonic() + (patience or (START if owned() else PATIENCE))
    while (left := end - time.monotonic()) > 0:
        try:
            if prefect_answers(url, left):
                return True
        except (ConnectionRefusedError, ValueError):
            return False
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    return False


def _start(home: Path, lock: Lock) -> str:
    """Bind a port and start the server's process on it, which inherits the socket and `lock` (server.lock)."""
    with socket.socket() as listener, private_log(home / "server.log", append=True) as log:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        (home / "server.url").write_text(url)
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.server", str(home), str(listener.fileno())],
            pass_fds=(listener.fileno(), lock.descriptor),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CODE,
            env={
                ORIGINS: url.removesuffix("/api"),
                **os.environ,
                "PREFECT_HOME": str(home),
                "PREFECT_LOGGING_LEVEL": "WARNING",
            },
            start_new_session=True,  # Ctrl-C in the terminal is for the stages
        )
    lock.close()  # the server's process holds it now
    return url


def _bypass_proxies() -> None:
    """Prefect's client honours proxy variables, also for the loopback interface."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


def await_solitude(home: Path, linger: float, tick: float = 0.5) -> Lock:
    """For the server's process: return users.lock, held exclusively, when no other process has held it for `linger` s.

    While it is held, new users wait until the server has ended; then they start another one.
    """
    alone_since = time.monotonic()
    while True:
        lock = take(home / "users.lock", wait=False)
        if lock is None:
            alone_since = time.monotonic() + tick
        elif time.monotonic() - alone_since >= linger:
            return lock
        else:
            lock.close()
        time.sleep(tick)


def _end_when_alone(home: Path, server: "uvicorn.Server") -> None:
    """End the server when it is alone, or when the project has been removed."""
    try:
        lock = await_solitude(home, LINGER)  # held until the process ends
    except OSError:
        lock = None
    server.should_exit = True
    time.sleep(FAREWELL)
    os._exit(0 if lock else 1)


def main(home: Path, descriptor: int) -> None:
    """Be the server, on a socket that already listens."""
    import uvicorn  # here: other processes ask for the server, and start sooner
    from prefect.server.api.server import create_app

    # `ephemeral` leaves out the UI and the services that look after schedules and workers; `final`: one app only.
    config = uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    threading.Thread(target=_end_when_alone, args=(home, server), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
