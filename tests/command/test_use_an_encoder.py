"""docs/use-an-encoder.md: every command and every piece of Python in it is run, in its order."""

import re
import shlex
from pathlib import Path

import pytest

from tests import encoder_files
from tests.command.conftest import CHECKOUT, Type
from tests.embedding.test_gather import paint

GUIDE = CHECKOUT / "docs" / "use-an-encoder.md"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_guide_does_what_it_says(project: Path, typed: Type) -> None:
    encoder_files.write(project / "runs" / "pretrain" / "simclr-0")
    card = project / "runs" / "pretrain" / "simclr-0" / "encoder.json"
    card.write_text(card.read_text().replace('"control": true', '"control": false'))
    (project / "reports").mkdir()
    (project / "reports" / "leaderboard.csv").write_text("name,kind,linear,picked\nsimclr,method,0.5,1\n")
    for i in range(6):
        paint(project / "photos" / f"{i}.png", (i * 40, 255 - 40 * i, 9))
    commands, names = [], {}
    for language, text in blocks():
        if language == "python" and "<model id>" not in text:  # tests/track loads a logged model
            exec(text, names)
        for line in text.splitlines() if not language else []:
            program, *arguments = shlex.split(line)
            assert program == "pretextbench"
            result = typed(*arguments)
            assert result.code == 0, result.error
            commands.append(arguments[0])
    assert commands == ["embed", "embed", "neighbours", "neighbours", *["export"] * 4]
    assert names["features"].shape == (4, 32)
    assert Path("alike.png").is_file()
