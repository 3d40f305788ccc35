"""docs/tutorial.md: its script is run, and `init` still says of the photographs what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command.conftest import CHECKOUT, Type

PAGE = (CHECKOUT / "docs" / "tutorial.md").read_text()
SCRIPT = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)[0]
COMMANDS = re.findall(r"^(uv run .*)$", PAGE, re.M)
RUN_BY = {  # command of the page -> the test that runs one like it; this file runs the others
    "run": "tests/test_docs_commands.py",
    "report": "tests/test_docs_commands.py",
    "embed": "tests/test_docs_commands.py",
    "neighbours": "tests/command/test_use_an_encoder.py",
}
HERE = [command for command in COMMANDS if "pretextbench init" in command]


def test_every_command_is_run_by_a_test() -> None:
    names = [command.removeprefix("uv run pretextbench ").split()[0] for command in COMMANDS[1:]]
    assert COMMANDS[0] == "uv run --with scikit-image python make_photos.py"
    assert set(names) == {"init", *RUN_BY}
    assert all(name in (CHECKOUT / file).read_text() for name, file in RUN_BY.items())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script of the page makes."""
    place = tmp_path_factory.mktemp("tutorial")
    (place / "make_photos.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "make_photos.py"], cwd=place, check=True, timeout=300)
    return place / "photos"


@pytest.mark.slow
def test_the_script_makes_the_photographs_of_the_page(photos: Path) -> None:
    counts = {split.name: [len(list(folder.iterdir())) for folder in split.iterdir()] for split in photos.iterdir()}
    assert counts == {"train": [96] * 8, "val": [24] * 8, "test": [48] * 8}


@pytest.mark.slow
def test_init_says_what_the_page_shows(photos: Path, project: Path, typed: Type) -> None:
    """The counts and warnings of the two commands; times and the machine are not compared."""
    shown = re.findall(r"^```text\n(.*?)^```", PAGE, re.S | re.M)[0]
    for number, command in enumerate(HERE):
        arguments = command.replace("photos", str(photos), 1).split()[3:]
        result = typed(*arguments, "--no-measure", "--weights", "none")
        assert (result.code, result.error) == (0, ""), number
        said = " ".join(result.out.split())
        checked = [line for line in shown.splitlines() if re.search(r"1,344|duplicates|labels:|warning", line)]
        checked = [line for line in checked if "params.yaml" not in line]
        assert len(checked) >= 3
        for line in checked:
            assert line.removeprefix("~/pretextbench/photos: ").strip() in said
