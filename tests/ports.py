"""Free ports of the loopback; each worker of pytest-xdist has a range of its own, so two never take the same."""

import itertools
import os
import socket

WIDTH = 500  # ports per worker
START = 20_000  # below the ports that a system gives to clients: 32,768 on Linux, 49,152 elsewhere
_next = itertools.count(os.getpid() % WIDTH)  # two sessions on one machine start at different places


def free_port() -> int:
    """A port that nobody listens on, and that no other call returns soon."""
    first = START + WIDTH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(WIDTH):
        port = first + next(_next) % WIDTH
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise RuntimeError(f"No port from {first} to {first + WIDTH - 1} is free.")
