"""The command line of `pipelines.run`."""

import argparse
from typing import Any

from pipelines import devices
from pretextbench.project import run_options
from pretextbench.project.run_options import LOCAL

SUMMARY = "The whole DVC graph as one Prefect flow."


def arguments(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; `dask` may stand alone, and `methods` becomes a list."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=SUMMARY)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=run_options.TARGETS)
    for option in run_options.OPTIONS:
        if option.kind is bool:
            parser.add_argument(option.flag, action="store_true", help=option.help)
            continue
        alone: dict[str, Any] = {"nargs": "?", "const": LOCAL} if option.name == "dask" else {}
        parser.add_argument(
            option.flag, type=option.kind, default=option.default, metavar=option.metavar, help=option.help, **alone
        )
    options = parser.parse_args(line)
    if options.dask and options.dask != LOCAL and ":" not in options.dask:
        parser.error(f"--dask takes an address such as tcp://HOST:8786, found {options.dask!r}; name targets before it")
    options.jobs = devices.jobs(devices.available()) if options.jobs is None else options.jobs
    for option in run_options.OPTIONS:
        if option.minimum is not None and (value := getattr(options, option.name)) < option.minimum:
            parser.error(f"{option.flag} must be {option.minimum} or more, found {value}")
    options.methods, options.remote = names(options.methods or ""), options.remote or ""
    return options


def names(text: str) -> list[str]:
    """`a,b` as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]
