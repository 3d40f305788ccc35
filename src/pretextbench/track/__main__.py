"""Command of the recorder: `python -m pretextbench.track ROOT [--replay]`.

Without `--replay` it is the recorder, which `track.start_recorder` starts. With `--replay` it writes the records that
wait in the outbox, prints a line about each, and exits with 1 when some still wait.
"""

import argparse
import functools
import io
import logging
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from pretextbench.errors import UserError
from pretextbench.project.addresses import without_secrets
from pretextbench.project.environment import require_pipeline
from pretextbench.project.locks import Lock, take
from pretextbench.track.outbox import Outbox


class CensoredStream(io.TextIOBase):
    """A stream that prints no password, whatever MLflow, a driver of a database or a traceback writes to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text without its secrets."""
        self.stream.write(without_secrets(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream itself."""
        self.stream.flush()


def main() -> int:
    """Replay the outbox or be the recorder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pretextbench.track", description="Write records to MLflow.")
    parser.add_argument("root", type=Path, help="folder of the project")
    parser.add_argument("--replay", action="store_true", help="write the records that wait in the outbox, and end")
    parser.add_argument("--identity", help=argparse.SUPPRESS)
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # descriptor of the recorder's lock, inherited
    options = parser.parse_args()
    try:
        require_pipeline()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    out, sys.stdout = sys.stdout, sys.stderr  # output of MLflow goes to stderr
    report = functools.partial(print, file=CensoredStream(out), flush=True)
    return replay_all(options.root, report) if options.replay else record_all(options, report)


def replay_all(root: Path, report: "functools.partial[None]") -> int:
    """Replay the outbox, without log lines of MLflow."""
    from pretextbench.track.delivery import replay  # imports MLflow

    logging.disable(logging.WARNING)
    return min(1, replay(root, report))


def record_all(options: argparse.Namespace, report: "functools.partial[None]") -> int:
    """Be the recorder, until no stage is at work."""
    environment, outbox = dict(os.environ), Outbox(options.root, options.identity)
    lock = Lock(options.lock) if options.lock else take(outbox.lock, wait=False)
    if lock is None:
        print("error: a recorder is at work here", file=sys.stderr)  # noqa: T201
        return 2
    from pretextbench.track.recorder import Recorder  # these import MLflow
    from pretextbench.track.writer import Writer

    os.set_inheritable(lock.descriptor, True)
    command = [sys.executable, "-m", "pretextbench.track", str(outbox.root)]
    command += ["--identity", outbox.identity, "--lock", str(lock.descriptor)]
    restart = functools.partial(os.execve, sys.executable, command, environment)
    Recorder(outbox, lock, Writer(outbox.root), lambda line: report(time.strftime("%F %T"), line), restart).run()
    os._exit(0)  # threads of a store that hangs do not keep this process alive


if __name__ == "__main__":
    sys.stderr = CensoredStream(sys.stderr)
    sys.exit(main())
