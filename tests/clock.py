"""Time that passes by waiting alone, so that a test of waiting is one on a busy machine too."""

import time


class Clock:
    """In place of a module's `time`: `sleep` moves `now` and returns at once."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time(self) -> float:
        return time.time()
