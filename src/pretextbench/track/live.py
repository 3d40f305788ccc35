"""Live curves: the spool of a training is sent to MLflow while the training runs. Imports MLflow.

The training never waits for this. What fails is tried again later, and the final record contains all of it except the
system metrics.
"""

import logging
import threading
from pathlib import Path

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pretextbench.track import spool
from pretextbench.track.records import Record
from pretextbench.track.writer import Writer

PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two reads of the file; the same after failures
STOP_TIMEOUT = 15.0  # seconds for the requests that are under way when the training ends
SAMPLING = 5.0  # seconds between two points of the system metrics


class Follower(threading.Thread):
    """Thread that sends the spool in `folder` to MLflow, starting with the first training that begins after `since`."""

    def __init__(self, writer: Writer, folder: Path, since: float) -> None:
        super().__init__(daemon=True)  # a store that hangs does not keep the recorder alive
        self.writer, self.folder, self.since = writer, folder, since
        self.state, self.lines_read, self.points_sent, self.pictures_sent = spool.SpoolState(), 0, 0, 0
        self.notes_sent: list[str] = []
        self.run_id: str | None = None
        self.monitor: SystemMetricsMonitor | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        """Send new lines every few seconds until `end`."""
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        pause = PAUSE
        while not self.stopping.wait(pause):
            try:
                self.update()
                pause = PAUSE
            except Exception:  # the store is away
                pause = min(2 * pause, LONGEST_PAUSE)

    def update(self) -> None:
        """Send the lines that are new in the file."""
        for line in spool.lines(self.folder / spool.FILE, self.lines_read):
            self.lines_read += 1
            spool.apply(self.state, line)
        begin = self.state.begin
        if begin is None or begin["at"] < self.since:
            self.state, self.lines_read = spool.SpoolState(), 0  # an earlier training's file, which will be replaced
            return
        if self.run_id is None:
            self.run_id = self.writer.begin(Record(**begin["begin"]), begin["instead"])
            self._start_monitor()
        self._send(self.run_id)

    def _send(self, run_id: str) -> None:
        new = self.state.points[self.points_sent :]
        self.writer.add_points(run_id, new)
        self.points_sent += len(new)
        for path in self.state.pictures[self.pictures_sent :]:
            if Path(path).is_file():
                self.writer.client.log_artifact(run_id, path, "watch")
            self.pictures_sent += 1
        if self.state.notes != self.notes_sent:
            self.writer.client.set_tag(run_id, "warning", "; ".join(self.state.notes)[:5000])
            self.notes_sent = self.state.notes

    def _start_monitor(self) -> None:
        self.monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=SAMPLING, resume_logging=True, tracking_uri=self.writer.uri
        )
        self.monitor.start()

    def end(self, recorded: bool) -> None:
        """Stop. Without a record the training was killed or has failed, and the run gets that status."""
        self.stopping.set()
        self.join(STOP_TIMEOUT)
        closing = threading.Thread(target=self._close, args=(recorded,), daemon=True)
        closing.start()
        closing.join(STOP_TIMEOUT)

    def _close(self, recorded: bool) -> None:
        try:
            if not recorded:
                self.update()
                if self.run_id is not None:
                    self.writer.stop(self.run_id, self.state.failed)
            if self.monitor is not None:
                self.monitor.finish()
        except Exception:
            logging.getLogger(__name__).info("the store is away", exc_info=True)
