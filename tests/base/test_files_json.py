"""JSON files of a project: an object or one sentence that names the file and says what to do."""

from pathlib import Path

import pytest

from pretextbench.base.files import read_json
from pretextbench.errors import UserError


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"method": "simclr", "größe": 1}', encoding="utf-8")
    assert read_json(tmp_path / "card.json", "Run it.") == {"method": "simclr", "größe": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "Cannot read .*card.json .*No such file"),
        (b"{", "Cannot read .*card.json"),
        (b"\xff", "Cannot read .*card.json .*utf-8"),
        (b"[" * 100_000, "Cannot read .*card.json"),
        (b"[1]", "card.json does not hold a JSON object"),
    ],
)
def test_anything_else_is_refused_with_the_remedy(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"{reason}.*\. Run it\."):
        read_json(tmp_path / "card.json", "Run it.")
