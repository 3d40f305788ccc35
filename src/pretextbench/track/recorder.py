"""The recorder of a project: the one process that writes records and live curves to MLflow. Imports MLflow.

It works as long as a stage does, and some seconds longer, so that the stages of one run share it. It may be killed at
any moment: what it has not finished is in the outbox, and the next recorder continues.

Live curves: the spool of a training is sent to MLflow while the training runs. The training never waits for this. What
fails is tried again later, and the final record contains all of it except the system metrics.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pretextbench.project.locks import Lock, is_held, take
from pretextbench.track import spool
from pretextbench.track.delivery import Report, deliver_files, time_limit
from pretextbench.track.outbox import Outbox
from pretextbench.track.records import Record
from pretextbench.track.writer import Writer

TICK = 0.2  # seconds between two looks at the outbox
LINGER = float(os.environ.get("PRETEXTBENCH_RECORDER_LINGER", "15"))  # seconds after the last stage
RETRY, LONGEST_RETRY = 10.0, 60.0  # seconds between two tries of a store that does not answer
PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two reads of a spool; the same after failures
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
        self.recorded, self.stopping = False, threading.Event()

    def run(self) -> None:
        """Send new lines every few seconds until `end`, then close the run."""
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        pause = PAUSE
        while not self.stopping.wait(pause):
            try:
                self.update()
                pause = PAUSE
            except Exception:  # the store is away
                pause = min(2 * pause, LONGEST_PAUSE)
        try:
            self._close()
        except Exception:
            logging.getLogger(__name__).info("the store is away", exc_info=True)

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
            if text := "; ".join(self.state.notes)[:5000]:
                self.writer.client.set_tag(run_id, "warning", text)
            else:
                self.writer.client.delete_tag(run_id, "warning")
            self.notes_sent = self.state.notes

    def _start_monitor(self) -> None:
        self.monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=SAMPLING, resume_logging=True, tracking_uri=self.writer.uri
        )
        self.monitor.start()

    def end(self, recorded: bool) -> None:
        """Stop. Without a record the training was killed or has failed, and the run gets that status."""
        self.recorded = recorded
        self.stopping.set()
        self.join(STOP_TIMEOUT)

    def _close(self) -> None:
        if not self.recorded:
            self.update()
            if self.run_id is not None:
                self.writer.stop(self.run_id, self.state.failed)
        if self.monitor is not None:
            self.monitor.finish()


class Recorder:
    """The recorder of `outbox`; `lock` is the lock of the recorder, `restart` replaces this process by a new one."""

    def __init__(
        self, outbox: Outbox, lock: Lock, writer: Writer, report: Report, restart: Callable[[], object]
    ) -> None:
        self.outbox, self.lock, self.writer, self.report, self.restart = outbox, lock, writer, report, restart
        self.followers: dict[Path, Follower] = {}  # file of the request -> its follower
        self.tried: set[Path] = set()  # records with a mistake wait for the next recorder
        self.next_try, self.pause = 0.0, RETRY
        self.busy = time.monotonic()  # when a stage was last at work

    def run(self) -> None:
        """Work until no stage does."""
        with contextlib.suppress(Exception), time_limit(self.outbox, self.report):
            self.writer.open()  # now, because it takes seconds
        while self.step():
            time.sleep(TICK)

    def step(self) -> bool:
        """Look at the outbox once and do what is to be done; False when the recorder is not needed any more."""
        due = [path for path in self.outbox.due() if path not in self.tried]
        self._follow()  # after `due`: a stage stops the following before it saves the record
        if due and time.monotonic() >= self.next_try:
            if self.writer.is_stale():
                self.restart()
            answers = deliver_files(self.writer, self.outbox, due, self.tried, self.report)
            self.next_try = 0.0 if answers else time.monotonic() + self.pause
            self.pause = RETRY if answers else min(2 * self.pause, LONGEST_RETRY)
        return not self._is_over()

    def _follow(self) -> None:
        """Start and end followers. A training that has ended without a record was killed or has failed."""
        paths = self.outbox.followed()
        for path in self.followers.keys() - set(paths):
            self.followers.pop(path).end(recorded=True)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # the record is coming
                if path not in self.followers:
                    request = json.loads(path.read_text())
                    self.followers[path] = Follower(self.writer, Path(request["folder"]), request["since"])
                    self.followers[path].start()
                if not is_held(path):
                    path.unlink()
                    self.followers.pop(path).end(recorded=False)

    def _is_over(self) -> bool:
        if not self.lock.is_at(self.outbox.lock):  # the project or its outbox was removed
            return True
        with contextlib.suppress(FileNotFoundError):
            if is_held(self.outbox.users):
                self.busy = time.monotonic()
        if time.monotonic() - self.busy < LINGER:
            return False
        if take(self.outbox.users, wait=False) is None:
            return False
        self.outbox.clear()  # stages that start now wait for the lock of `users`, until this process has ended
        return True
