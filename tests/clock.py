"""Time that passes by waiting alone, so that a test of waiting is one on a busy machine too."""

import time


class Clock:
    """In place of a module's `time`: `sleep` moves `now` and returns at once. `waits` are its calls, in seconds."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    @property
    def now(self) -> float:
        """Seconds since the clock was made."""
        return sum(self.waits)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def time(self) -> float:
        return time.time()
