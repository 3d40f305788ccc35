"""The recorder: `python -m pretextbench.track ROOT [--encoder]` reads one record as JSON, writes it, prints its id.

It ends without a word when its input ends without one: the stage was stopped or had nothing to tell.
"""

import contextlib
import json
import sys
from pathlib import Path

from pretextbench.track import Record
from pretextbench.track.writer import Writer


def main(root: Path, encoder: bool) -> None:
    """Open the store, then wait for the record; what MLflow prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        writer = Writer(root)
        if encoder:
            import pretextbench.track.model  # noqa: F401  imports torch (3 s), before it is needed
        told = sys.stdin.read()
        run_id = writer.write(Record(**json.loads(told))) if told else None
    if run_id:
        print(json.dumps({"run_id": run_id}))  # noqa: T201  the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--encoder" in sys.argv)
