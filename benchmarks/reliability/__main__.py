"""Faults that a comparison survives, measured on small projects in a temporary folder, printed as Markdown.

    uv run python -m benchmarks.reliability [--kills 50] [--first 0] [--only NAME ...]

kills: SIGKILL at random moments of every phase (`--first 30` does the last twenty of fifty); torn: half-written files
of DVC; locks: stages that end together; disk: full disks (needs root); people: two runs in one checkout; side: stages
side by side; overhead, real: what orchestration costs. The last three are timings: let nothing else run. All together
an hour or two on two cores, most of it kills.
"""

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.reliability import disk, kills, people, torn, toys
from benchmarks.reliability.base import base

EXPERIMENTS = ("kills", "torn", "locks", "disk", "people", "side", "overhead", "real")


def main() -> None:
    """Run the experiments that are asked for, in that order. The folder stays when one of them breaks off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="kills that an earlier run has done")
    parser.add_argument("--only", choices=EXPERIMENTS, nargs="+", default=EXPERIMENTS)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    print(f"at work in {folder}", flush=True)
    run = {
        "kills": lambda: kills.measure(folder, words.kills, words.first),
        "torn": lambda: torn.measure(folder),
        "locks": lambda: toys.locks(folder),
        "disk": lambda: disk.measure(folder),
        "people": lambda: people.measure(folder),
        "side": lambda: toys.side(folder),
        "overhead": lambda: toys.overhead(folder),
        "real": lambda: toys.real(folder),
    }
    broken: list[str] = []
    for name in words.only:
        try:
            run[name]()
        except Exception:  # the others are worth their hour all the same
            broken.append(name)
            traceback.print_exc()
    if set(words.only) & {"kills", "torn", "disk", "people"}:
        left = base(folder).project.close()
        print(f"\nProcesses left when the server should have ended too: {', '.join(left) or 'none'}.")
    if broken:
        sys.exit(f"broke off: {', '.join(broken)}; see {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
