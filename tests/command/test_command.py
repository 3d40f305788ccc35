"""The command as a whole: its help is light, and every kind of mistake is one message with the right status."""

import errno
import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest

from pretextbench.command import main, methods
from pretextbench.errors import UserError
from tests.command.conftest import Output, Type
from tests.conftest import Install

HEAVY = {"torch", "torchvision", "kornia", "lightning_fabric", "numpy", "pandas", "scipy", "sklearn", "matplotlib"}
HEAVY |= {"mlflow", "prefect", "dvc", "PIL", "onnx", "timm", "yaml", "psutil"}
HELP = """
import json, sys
from pretextbench.command import main
from pretextbench.command.application import app
groups = {group.name: group.typer_instance for group in app.registered_groups}
calls = [[], *([command.name] for command in app.registered_commands), *([name] for name in groups)]
calls += [[name, command.callback.__name__] for name, group in groups.items() for command in group.registered_commands]
codes = {" ".join(words): main([*words, "--help"]) for words in calls}
print(json.dumps([codes, sorted(name for name in sys.modules if "." not in name)]))
"""


def test_help_of_every_command_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=120, check=True)
    codes, imported = json.loads(done.stdout.splitlines()[-1])
    assert len(codes) >= 4
    assert set(codes.values()) == {0}
    assert HEAVY & set(imported) == set()
    assert done.stdout.count("Examples") == len(codes) - 1  # of every command; the app itself lists the commands


def test_no_words_show_the_help(typed: Type) -> None:
    result = typed()
    assert result.code == 2
    assert "Usage" in result.out + result.error
    assert "error:" not in result.error


def test_the_version_is_that_of_the_distribution(typed: Type) -> None:
    result = typed("--version")
    assert (result.code, result.out) == (0, f"pretextbench {metadata.version('pretextbench')}\n")


SWITCHES = [[], ["init"], ["run"], ["embed"], ["doctor"], ["new"], ["methods", "show"]]


@pytest.mark.parametrize("words", SWITCHES, ids=" ".join)
def test_the_help_fits_60_columns_and_shows_no_types(
    words: list[str], typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--force <bool>` reads as if it took a value, and a name that is cut cannot be typed."""
    monkeypatch.setenv("COLUMNS", "60")
    page = typed(*words, "--help").out
    assert max(map(len, page.splitlines())) <= 60
    assert re.findall(r"<bool>|<str>|<list|<path|range>", page) == []
    assert re.findall(r"--[a-z-]*…", page) == []


def test_the_help_ends_with_the_first_commands_and_completion(typed: Type) -> None:
    page, last = typed("--help").out.split("First steps")
    assert "completion" not in page, "not the first thing that a reader sees"
    steps = ["init --images ~/photos", "run", "report", "--install-completion"]
    assert re.findall(r"pretextbench ([^:\n]+?)(?=:| makes)", last) == steps


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "answer"), [("pretextbench me", "methods"), ("pretextbench run --only simc", "simclr")]
)
def test_the_shell_completes_commands_and_methods(
    shell: str, line: str, answer: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_PRETEXTBENCH_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)  # as bash passes the line on
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)  # as zsh does
    with pytest.raises(SystemExit):
        main([])
    assert answer in capfd.readouterr().out


def test_the_help_groups_the_commands_in_the_order_of_use(typed: Type) -> None:
    result = typed("--help").out
    words = ["Compare methods on your images", "init", "run", "report", "Look closer", "ui", "Use an encoder", "embed"]
    assert sorted(words, key=lambda word: re.search(rf"[─│] {word} ", result).start()) == words  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["methds"], "No such command 'methds'. Did you mean 'methods'? `pretextbench --help` shows what is allowed."),
        (
            ["run", "--job", "2"],
            "No such option: --job (Possible options: --jobs). `pretextbench run --help` shows what is allowed.",
        ),
        (["run", "--jobs", "many"], "Invalid value for '--jobs': "),
        (["run", "--jobs", "0"], "Invalid value for '--jobs': "),
        (
            ["init", "--images", "x", "--profile", "quik"],
            "Invalid value for '--profile': 'quik' is not one of 'quick',",
        ),
        (["methods", "show"], "Missing argument 'NAME'. `pretextbench methods show --help` shows what is allowed."),
    ],
)
def test_what_is_not_understood_is_one_message(arguments: list[str], message: str, typed: Type) -> None:
    result = typed(*arguments)
    assert result.code == 2
    assert result.message.startswith(message)


def ending(error: BaseException, typed: Type, monkeypatch: pytest.MonkeyPatch) -> Output:
    def raise_it(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(methods, "states", raise_it)
    return typed("methods")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("Not so."), 2, "Not so."),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C."),
        (OSError(errno.ENOSPC, "No space", "/full/file"), 2, "/full/file: no space left on the device: free some"),
        (OSError(errno.EACCES, "Denied", "/shut"), 2, "/shut: no permission: change the permissions or the place."),
    ],
)
def test_how_a_command_can_end(
    error: BaseException, code: int, message: str, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ending(error, typed, monkeypatch)
    assert result.code == code
    assert result.message.startswith(message)


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EINTR, "Interrupted")])
def test_a_fault_of_ours_is_no_message(error: Exception, typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        ending(error, typed, monkeypatch)


SIGMA = """
from pretextbench.method import PretextMethod
class Ours(PretextMethod):
    api_version = 1
    reference = "Σ 2020"
"""


@pytest.mark.slow
def test_names_that_the_terminal_cannot_show_end_nothing(install: Install) -> None:
    """A paper in Greek, where the output is ASCII."""
    site = install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": SIGMA})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(site)}
    show = [sys.executable, "-m", "pretextbench.command", "methods", "show", "ours"]
    done = subprocess.run(show, capture_output=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"Reference\n  \\u03a3 2020\n")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["methods"], ["--help"], ["methods", "--json"]], ids=" ".join)
def test_a_reader_that_has_gone_is_told_nothing(words: list[str]) -> None:
    """`pretextbench methods | head -1`: no traceback after the line that was wanted."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pretextbench.command", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120)
    os.close(write)
    assert done.stderr == b""


@pytest.mark.parametrize("without", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("words", [["--help"], ["methods", "show", "random"]], ids=" ".join)
def test_a_terminal_without_colour_gets_none(
    words: list[str], without: dict[str, str], typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "60", **without}.items():  # as a terminal, without one
        monkeypatch.setenv(name, value)
    result = typed(*words)
    assert (result.code, result.error) == (0, "")
    assert words == ["--help"] or max(map(len, re.sub(r"\x1b\[[\d;]*m", "", result.out).splitlines())) <= 60
    assert re.findall(r"\x1b\[[\d;]*3\dm", result.out) == []
