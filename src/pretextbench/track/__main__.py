"""The recorder: `python -m pretextbench.track ROOT [--encoder]` reads one record as JSON, writes it, prints its id.

A line before it may name a spool to follow meanwhile: then MLflow shows the training while it trains.

It ends without a word when its input ends without one: the stage was stopped or had nothing to tell.
`python -m pretextbench.track ROOT --replay` writes the records that were kept when the store could not be reached,
prints a line about each, and exits with 1 when some are kept still.
"""

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from pretextbench.track import Record
from pretextbench.track.delivery import follow, replay


def main(root: Path, encoder: bool) -> None:
    """Answer the record with its run id or with the reason why it has none; what MLflow prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        answer = tell(root, encoder)
    if answer:
        print(json.dumps(answer))  # noqa: T201  the answer


def tell(root: Path, encoder: bool) -> dict[str, Any] | None:
    """Open the store, tell what is followed, wait for the record, write it, and let those follow that were kept."""
    from pretextbench.track import live  # a replay that finds another at work needs no MLflow
    from pretextbench.track.delivery import deliver, why
    from pretextbench.track.writer import Writer

    writer = Writer(root)
    with contextlib.suppress(Exception):  # hours may pass before the record comes, and the store come back
        writer.open()
    if encoder:
        import pretextbench.track.model  # noqa: F401  imports torch (3 s), before it is needed
    told = sys.stdin.readline()
    if told.startswith('{"follow"'):
        following = live.start(writer, json.loads(told))
        told = sys.stdin.read()
        following.end(recorded=bool(told))
    if not told:
        return None
    try:
        run_id, notes = deliver(writer, Record(**json.loads(told)))
        return {"run_id": run_id, "notes": [*notes, *follow(root)]}
    except Exception as error:
        return {"error": why(error)}


def replayed(root: Path) -> int:
    """Replay what is kept and return the exit status; MLflow is quiet meanwhile."""
    logging.disable(logging.WARNING)
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        return min(1, replay(root, lambda line: print(line, file=out, flush=True)))


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    if "--replay" in sys.argv:
        sys.exit(replayed(place))
    main(place, "--encoder" in sys.argv)
