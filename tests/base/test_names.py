"""What a name from the disk or a file reaches no terminal raw: line breaks and escape sequences are escaped."""

from pathlib import Path

import pytest

from pretextbench.base.names import plain, printable
from pretextbench.command import main
from pretextbench.errors import UserError
from pretextbench.params import load
from stages.lifecycle import exit_status


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a\nb", r"a\nb"),
        ("esc\x1b[2J", r"esc\x1b[2J"),
        ("turn\u202egnp", r"turn\u202egnp"),
        ("not-utf8-\udcff", r"not-utf8-\xff"),
        ("空 café", "空 café"),
    ],
)
def test_a_name_is_one_line(name: str, text: str) -> None:
    assert printable(name) == text


def test_a_message_keeps_its_lines_and_commands_nothing() -> None:
    assert plain("first\x1b[2J\nsecond\r") == "first\\x1b[2J\nsecond\\r"


@pytest.mark.parametrize(
    "text",
    [
        '"\\e[2J": 1\n',
        '"a\\nb": 1\n',
        'prepare: {"\\e[2J": 1}\n',
        'prepare: {"a\\nb": 1, "a\\nb": 2}\n',
        'methods: {"\\e[2J\\n": {}}\n',
        'compare: {methods: ["\\e[2J\\n"]}\n',
        'prepare: {fit: "\\e[2J\\n"}\n',
    ],
)
def test_keys_and_values_of_params_are_written_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "params.yaml")
    assert "\x1b" not in str(caught.value)
    assert "a\nb" not in str(caught.value)
    assert "J\n" not in str(caught.value)


def test_the_last_words_of_a_command_and_of_a_stage_command_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bell\x07").mkdir()
    monkeypatch.chdir(tmp_path / "bell\x07")
    assert exit_status(UserError("/data/bell\x07 is a file")) == 2
    assert main(["report"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("bell\\x07 is ") == 2
    assert "\x07" not in errors
