"""A writer for the tests of the recorder: it writes to no store."""

from types import SimpleNamespace
from typing import Any

from pretextbench.track import Record


class FakeWriter:
    """A writer to no store: it notes what it is asked, and raises the errors it is given, by the key of a record."""

    def __init__(self, **errors: Exception) -> None:
        self.errors, self.done, self.stale, self.uri = errors, list[str](), False, "fake"
        self.client = SimpleNamespace(set_tag=lambda *_: None, delete_tag=lambda *_: None)

    def write(self, record: Record) -> str:
        if error := self.errors.get(record.key) or self.errors.get("all"):
            raise error
        self.done.append(record.key)
        return f"run of {record.key}"

    def begin(self, record: Record, replaced: str | None) -> str:
        self.done.append(f"begin {record.key}")
        return record.key

    def add_points(self, run_id: str, points: list[Any]) -> None:
        self.done += [f"{point[0]} {point[1]}" for point in points]

    def stop(self, run_id: str, failed: str | None) -> None:
        self.done.append(f"stop {failed}")

    def is_stale(self) -> bool:
        return self.stale
