"""The recorder process: `python -m pretextbench.track ROOT [--encoder | --replay]`.

Without `--replay` it reads one record as JSON from its input, writes it to MLflow and prints the run id. A line before
the record may name a spool: until the record comes, the recorder sends the curves in that spool to MLflow. When the
input ends without a record (the stage was stopped or has nothing to record), the recorder ends and prints nothing.

With `--replay` it writes the records that wait in the outbox, prints a line about each, and exits with 1 when some
still wait.
"""

import contextlib
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any, TextIO

from pretextbench.errors import UserError
from pretextbench.project.addresses import without_secrets
from pretextbench.project.environment import require_pipeline
from pretextbench.track import Record


class Censored(io.TextIOBase):
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


def main(root: Path, encoder: bool) -> None:
    """Print the answer to the record: its run id or the reason of the failure. Output of MLflow goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        answer = serve(root, encoder)
    if answer:
        print(json.dumps(answer))  # noqa: T201  the answer


def serve(root: Path, encoder: bool) -> dict[str, Any] | None:
    """Open the store, send the spool until the record comes, write the record, then start a replay of the outbox."""
    from pretextbench.track import live  # these import MLflow; the first is not needed by a replay
    from pretextbench.track.delivery import deliver, explain, start_replay
    from pretextbench.track.writer import Writer

    writer = Writer(root)
    with contextlib.suppress(Exception):  # the record may come hours later, when the store is back
        writer.open()
    if encoder:
        import pretextbench.track.model  # noqa: F401  imports torch (3 s), before it is needed
    line = sys.stdin.readline()
    if line.startswith('{"follow"'):
        follower = live.start(writer, json.loads(line))
        line = sys.stdin.read()
        follower.end(recorded=bool(line))
    if not line:
        return None
    try:
        run_id, notes = deliver(writer, Record(**json.loads(line)))
        return {"run_id": run_id, "notes": [*notes, *start_replay(root)]}
    except Exception as error:
        return {"error": explain(error)}


def replay_all(root: Path) -> int:
    """Replay the outbox, without log lines of MLflow, and return the exit status."""
    from pretextbench.track.delivery import replay  # imports MLflow

    logging.disable(logging.WARNING)
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        return min(1, replay(root, lambda line: print(line, file=out, flush=True)))


if __name__ == "__main__":
    sys.stderr = Censored(sys.stderr)
    try:
        require_pipeline()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  as above
        sys.exit(2)
    project = Path(sys.argv[1]).resolve()
    if "--replay" in sys.argv:
        sys.exit(replay_all(project))
    main(project, "--encoder" in sys.argv)
