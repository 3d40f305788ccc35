"""The recorder of a project: the one process that writes records and live curves to MLflow. Imports MLflow.

It works as long as a stage does, and some seconds longer, so that the stages of one run share it. It may be killed at
any moment: what it has not finished is in the outbox, and the next recorder continues.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from pretextbench.project.locks import Lock, is_held, take
from pretextbench.track.delivery import Report, deliver_files, time_limit
from pretextbench.track.live import Follower
from pretextbench.track.outbox import Outbox
from pretextbench.track.writer import Writer

TICK = 0.2  # seconds between two looks at the outbox
LINGER = float(os.environ.get("PRETEXTBENCH_RECORDER_LINGER", "15"))  # seconds after the last stage
RETRY, LONGEST_RETRY = 10.0, 60.0  # seconds between two tries of a store that does not answer


class Recorder:
    """The recorder of `outbox`; `lock` is the lock of the recorder, `restart` replaces this process by a new one."""

    def __init__(
        self, outbox: Outbox, lock: Lock, writer: Writer, report: Report, restart: Callable[[], object]
    ) -> None:
        self.outbox, self.lock, self.writer, self.report, self.restart = outbox, lock, writer, report, restart
        self.followers: dict[tuple[int, int], Follower] = {}
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
        files = self.outbox.followed()
        for number in self.followers.keys() - files.keys():
            self.followers.pop(number).end(recorded=True)
        for number, path in files.items():
            with contextlib.suppress(FileNotFoundError):  # the record is coming
                if number not in self.followers:
                    request = json.loads(path.read_text())
                    self.followers[number] = Follower(self.writer, Path(request["folder"]), request["since"])
                    self.followers[number].start()
                if not is_held(path):
                    path.unlink()
                    self.followers.pop(number).end(recorded=False)

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
