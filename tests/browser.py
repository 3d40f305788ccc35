"""A headless Chromium for tests of pages, driven over a pipe by its DevTools protocol: nothing to install but it."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COMMAND = next(filter(None, map(shutil.which, NAMES)), None)
ABSENT = f"no browser: none of {', '.join(NAMES)} is on the PATH"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run", "--mute-audio")
LOADED = "Page.loadEventFired"


def _high(descriptor: int) -> int:
    """The descriptor above those that the browser wants, which are 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return moved


class Browser:
    """One tab. `events` has what the page said since the last `open`."""

    def __init__(self, profile: Path) -> None:
        assert COMMAND is not None, ABSENT
        (theirs, ours), (self._answers, their_answers) = os.pipe(), os.pipe()
        theirs, their_answers = _high(theirs), _high(their_answers)
        shell = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{their_answers}']
        command = [*shell, COMMAND, *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, pass_fds=(theirs, their_answers))
        os.close(theirs)
        os.close(their_answers)
        self._requests, self._buffer, self._number, self._session = ours, b"", 0, ""
        self.events: list[dict[str, Any]] = []
        self._session = self._attach()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _attach(self) -> str:
        tabs = self.call("Target.getTargets")["targetInfos"]
        tab = next(info["targetId"] for info in tabs if info["type"] == "page")
        return str(self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"])

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer of a method of the protocol."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": params}
        request |= {"sessionId": self._session} if self._session else {}
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, (method, message["error"])
        result: dict[str, Any] = message["result"]
        return result

    def open(self, address: str) -> None:
        """Load a page and wait until it is complete."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == LOADED for event in self.events):
            self.events.append(self._message())

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Exceptions, errors and warnings of the page."""
        said = {event["method"]: [] for event in self.events}  # type: dict[str, list[dict[str, Any]]]
        for event in self.events:
            said[event["method"]].append(event["params"])
        thrown = [str(params["exceptionDetails"]) for params in said.get("Runtime.exceptionThrown", [])]
        called = [str(p["args"]) for p in said.get("Runtime.consoleAPICalled", []) if p["type"] in ("error", "warning")]
        logged = [str(params["entry"]) for params in said.get("Log.entryAdded", [])]
        return thrown + called + logged

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._requests)
        os.close(self._answers)
