"""Telling MLflow about a training while it trains, beside it and never in its way. Imports MLflow.

Whatever fails here is tried again later; and the final record has all of it, but for the machine's metrics.
"""

import logging
import threading
from pathlib import Path
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pretextbench.track import spool
from pretextbench.track.payload import Record
from pretextbench.track.writer import Writer

PAUSE, LONGEST = 2.0, 60.0  # seconds between two looks at the file; after failures
ENOUGH = 15.0  # seconds for what is being told when the training ends
SAMPLING = 5.0  # seconds between two points of the machine's metrics


class Live(threading.Thread):
    """Follows the spool in `folder`, from the training on that begins after `since`."""

    def __init__(self, writer: Writer, folder: Path, since: float) -> None:
        super().__init__(daemon=True)  # a store that hangs does not keep the recorder
        self.writer, self.folder, self.since = writer, folder, since
        self.story, self.read, self.sent, self.shown = spool.Story(), 0, 0, 0
        self.noted: list[str] = []
        self.run_id: str | None = None
        self.machine: SystemMetricsMonitor | None = None
        self.over = threading.Event()

    def run(self) -> None:
        """Look, tell, wait, until it is over."""
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        pause = PAUSE
        while not self.over.wait(pause):
            try:
                self.look()
                pause = PAUSE
            except Exception:  # the store is away
                pause = min(2 * pause, LONGEST)

    def look(self) -> None:
        """Tell what is new in the file."""
        for line in spool.lines(self.folder / spool.TOLD, self.read):
            self.read += 1
            spool.listen(self.story, line)
        begun = self.story.begun
        if begun is None or begun["at"] < self.since:
            self.story, self.read = spool.Story(), 0  # of an earlier training, whose file is about to be replaced
            return
        if self.run_id is None:
            self.run_id = self.writer.begin(Record(**begun["begin"]), begun["instead"])
            self._watch_the_machine()
        self._tell(self.run_id)

    def _tell(self, run_id: str) -> None:
        new = self.story.points[self.sent :]
        self.writer.tell(run_id, new)
        self.sent += len(new)
        for path in self.story.pictures[self.shown :]:
            if Path(path).is_file():
                self.writer.client.log_artifact(run_id, path, "watch")
            self.shown += 1
        if self.story.notes != self.noted:
            self.writer.client.set_tag(run_id, "warning", "; ".join(self.story.notes)[:5000])
            self.noted = self.story.notes

    def _watch_the_machine(self) -> None:
        self.machine = SystemMetricsMonitor(
            self.run_id, sampling_interval=SAMPLING, resume_logging=True, tracking_uri=self.writer.uri
        )
        self.machine.start()

    def end(self, recorded: bool) -> None:
        """Stop. A training that is not recorded was killed, or has failed: the run says so."""
        self.over.set()
        self.join(ENOUGH)
        stopping = threading.Thread(target=self._close, args=(recorded,), daemon=True)
        stopping.start()
        stopping.join(ENOUGH)

    def _close(self, recorded: bool) -> None:
        try:
            if not recorded and self.run_id is not None:
                self.look()
                self.writer.stop(self.run_id, self.story.failed)
            if self.machine is not None:
                self.machine.finish()
        except Exception:
            logging.getLogger(__name__).info("the store is away", exc_info=True)


def start(writer: Writer, asked: dict[str, Any]) -> Live:
    """Follow what `track.follow` asks for."""
    live = Live(writer, Path(asked["follow"]), asked["since"])
    live.start()
    return live
