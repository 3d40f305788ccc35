"""A child process and its pipe to the parent. Ctrl-C reaches the parent alone, which ends the child."""

import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess


@dataclass(frozen=True)
class Child:
    """A running child and the parent's end of its pipe."""

    process: BaseProcess
    pipe: Connection

    def end(self) -> None:
        """Kill it and wait until it has ended."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def start(work: Callable[..., None], *values: object) -> Child:
    """Call `work(pipe, *values)` in a new interpreter, which ends at the latest with this process."""
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    process = context.Process(target=work, args=(child_end, *values), daemon=True)
    if threading.current_thread() is not threading.main_thread():  # others may not set how signals are handled
        process.start()
    else:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # is inherited
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, interrupt)
    child_end.close()
    return Child(process, parent_end)
