"""A recorded terminal session, docs/screens/terminal.svg: `uv run python -m docs.make.terminal`.

The commands really run, in a copy of this checkout on a small folder of the generated images, and take some minutes.
What they print is drawn by rich.
"""

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.params import Prepare, Synthetic

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs/screens/terminal.svg"
COLUMNS = 100
TYPED = (
    "pretextbench init --images ~/photos",
    "sed -i 's/images: 24000/images: 1024/' params.yaml   # a shorter training, for this picture",
    "pretextbench run",
)
FONT = re.compile(r"@font-face \{.*?\}", re.S)  # of rich, from another server


def photographs(folder: Path) -> None:
    """Write the generated images as a folder of PNG files with a folder per class."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        images, labels = Path(place, "images"), Path(place, "labels")
        prepare(Prepare(synthetic=Synthetic(train=1500, val=100, test=100)), images, labels)
        data = Prepared(images, labels)
        for number, (pixels, label) in enumerate(zip(data.images("train"), data.labels("train"), strict=True)):
            target = folder / data.classes[int(label)] / f"{number:04}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(pixels)).save(target)


def checkout(target: Path) -> None:
    """Copy what git knows of this checkout."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=target, check=True)


def answers(home: Path) -> list[tuple[str, str]]:
    """(command, what it printed), one after the other, in a copy of the checkout below `home`."""
    project = home / "pretextbench"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"HOME": str(home), "PATH": path, "COLUMNS": str(COLUMNS), "PRETEXTBENCH_SERVER_LINGER": "5"}
    result = []
    for typed in TYPED:
        done = subprocess.run(
            ["sh", "-c", typed], cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        printed = done.stdout.replace(str(home), "~")
        result.append((typed, re.sub(rf"\b{re.escape(platform.node())}\b", "pc", printed)))  # the name of this machine
        print(f"{typed}: exit status {done.returncode}")
    return result


def picture(said: list[tuple[str, str]]) -> str:
    """The session as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for typed, printed in said:
        console.print(Text.assemble(("$ ", "bold green"), (typed, "bold")))
        console.print(Text(printed), end="\n" if printed else "")
    drawn = console.export_svg(title="pretextbench", theme=MONOKAI, unique_id="session")
    return FONT.sub("", drawn).replace("Fira Code, ", "")


def main() -> None:
    """Record the session."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        photographs(Path(folder, "photos"))
        checkout(Path(folder, "pretextbench"))
        TARGET.write_text(picture(answers(Path(folder))), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
