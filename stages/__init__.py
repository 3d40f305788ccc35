"""Stages of dvc.yaml, started by run.sh as `python -m stages NAME`: read parameters, call the library, write files.

The packages of this project may be missing in the Python that starts a stage, such as that of the system. Then another
one continues. So nothing but the standard library is imported first.
"""

import os
import sys

NAMES = ("python", "python3", ".venv/bin/python")  # where another Python is searched for
ADVICE = "Start with `uv run dvc repro`, or activate the environment of this project first."


def change_python(argv: "list[str]") -> None:
    """Become the first Python that has the packages of this project, with the same arguments `argv` after the program.

    Raises:
        SystemExit: there is none; status 2, after a message.
    """
    import shutil  # here: a stage starts sooner
    import subprocess

    for name in NAMES:
        program = shutil.which(name)
        if program and subprocess.call([program, "-c", "import pretextbench"], stderr=subprocess.DEVNULL) == 0:
            os.execv(program, [program, *argv])
    print(f"error: {sys.executable} lacks the packages of this project. {ADVICE}", file=sys.stderr)
    raise SystemExit(2)


try:
    import pipelines  # noqa: F401  sets the switches of every tool before any of them is imported
except ModuleNotFoundError as error:
    if error.name != "pretextbench" or "-m" not in sys.argv[:1]:  # not started as `python -m stages`
        raise
    with open("/proc/self/cmdline", "rb") as line:  # the module's name is not in sys.argv yet
        change_python([os.fsdecode(argument) for argument in line.read().split(b"\0")[1:-1]])
