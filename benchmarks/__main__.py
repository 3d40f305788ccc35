"""Speed, measured: `uv run python -m benchmarks [--rounds N] [ROW ...]`; without names, every row.

Each row is a module of benchmarks/rows with `measure(rounds)`. Results go to benchmarks/results/, one JSON file and one
page per kind of host. A row that cannot run here says what is missing, and the rest runs.
"""

import argparse
import importlib
import os
import pkgutil
import shlex
import sys
import time
import traceback

from benchmarks import rows
from benchmarks.harness import Missing, line, save
from stages.lifecycle import keep_freed

NAMES = sorted(module.name for module in pkgutil.iter_modules(rows.__path__))


def measure_row(name: str, rounds: int, command: str) -> bool:
    """Measure one row, print it and save it; False if it breaks."""
    load, start = os.getloadavg()[0], time.monotonic()
    print(f"\n{name} (load {load:.1f})\n| what | value | quartiles | unit | bar |\n|---|--:|--:|---|---|", flush=True)
    measures = []
    try:
        for measure in importlib.import_module(f"benchmarks.rows.{name}").measure(rounds):
            measures.append(measure)
            print(line(measure), flush=True)
    except Missing as reason:
        print(f"| missing: {reason} | | | | |")
    except Exception:  # a row that breaks must not stop the next ones; the exit status reports it
        traceback.print_exc()
        return False
    if measures:
        print(f"{time.monotonic() - start:.0f} s; {save(name, command, load, measures)}", flush=True)
    return True


def main() -> int:
    """Measure the rows asked for; 0 when none broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each alternation")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(NAMES)}")
    words = parser.parse_args()
    unknown = [name for name in words.rows if name not in NAMES]
    if unknown or words.rounds < 1:
        parser.error(f"rows are {', '.join(NAMES)}, rounds 1 or more; found {' '.join(unknown) or words.rounds}")
    keep_freed()  # as a stage does
    command = shlex.join(["uv", "run", "python", "-m", "benchmarks", *sys.argv[1:]])
    return 0 if all([measure_row(name, words.rounds, command) for name in words.rows or NAMES]) else 1


if __name__ == "__main__":
    sys.exit(main())
