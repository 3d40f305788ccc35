"""The whole DVC graph as one Prefect flow: `uv run python -m pipelines.run [--jobs N] [--only METHOD] [TARGET ...]`.

DVC decides what is stale and stores outputs; Prefect orders the stages, runs them in parallel, retries and records.
When nothing is stale, Prefect is not started and has no record of it; with `--dry-run` DVC's reasons are printed. Exit
status: 0 all current; 2 a mistake of the user; 1 something failed; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

INTERRUPTED = 130
FIRST = "Looking for what has changed ..."


class LastingStream(io.TextIOBase):
    """An output that may be closed while the run goes on: a pipe without a reader, a closed terminal.

    A run must not end for that. After the first failure everything goes to /dev/null.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.fileno, self.isatty = stream.fileno, stream.isatty  # type: ignore[method-assign]

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream itself, which Rich reads."""
        return self.stream.encoding

    def write(self, text: str) -> int:
        """Write, if the stream is still open."""
        with self._discard_when_closed():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream itself."""
        with self._discard_when_closed():
            self.stream.flush()

    @contextlib.contextmanager
    def _discard_when_closed(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def main(argv: list[str] | None = None) -> int:
    """Run the pipeline; returns the exit status."""
    # All imports are here: they take seconds, in which Ctrl-C may come. The first line is shown before most of them.
    from pretextbench.project.run_options import arguments

    options = arguments(argv)
    print(FIRST, flush=True)
    from pipelines import devices
    from pretextbench.base.files import REASONS
    from pretextbench.base.names import plain
    from pretextbench.errors import UserError
    from pretextbench.project import layout
    from pretextbench.project.environment import require_pipeline

    root = layout.root()
    options.jobs = options.jobs or devices.jobs(devices.available())
    os.chdir(root)  # DVC names stages relative to the working folder
    try:
        require_pipeline()
        from pipelines import graph_run

        return graph_run.run(root, options)
    except UserError as error:
        print(f"error: {plain(error)}", file=sys.stderr)
    except OSError as error:
        reason = REASONS.get(error.errno or 0)
        print(f"error: {error.filename}: {reason}." if reason else f"error: {plain(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.stdout, sys.stderr = LastingStream(sys.stdout), LastingStream(sys.stderr)
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there was anything to stop
        print("error: stopped by Ctrl-C. Nothing is lost: `pretextbench run` begins again.", file=sys.stderr)
        sys.exit(INTERRUPTED)
