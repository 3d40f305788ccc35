"""Options of a pipeline run, once: for `pretextbench run`, `python -m pipelines.run` and the Prefect deployment."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

LOCAL = "local"  # of --dask: workers on this machine
SUMMARY = "The whole DVC graph as one Prefect flow."
TARGETS = "Stages of dvc.yaml to bring up to date [all]."


class Option(NamedTuple):
    """An option of the command line; None stands for an option that is not given."""

    name: str
    kind: type[int] | type[str] | type[bool]
    help: str
    metavar: str | None = None
    minimum: int | None = None
    default: Any = None

    @property
    def flag(self) -> str:
        """`--dry-run` of `dry_run`."""
        return f"--{self.name.replace('_', '-')}"


OPTIONS = (
    Option("only", str, "The stages of one method, and what they need.", "METHOD"),
    Option("methods", str, "The same for several methods.", "A,B"),
    Option("dry_run", bool, "List what would run and why, and run nothing.", default=False),
    Option("jobs", int, "Largest number of stages in parallel [from cores and devices].", minimum=1),
    Option("dask", str, "Stages on Dask workers: `local`, or a scheduler's address tcp://HOST:8786.", "WHERE"),
    Option("retries", int, "Attempts after a failure that is not a mistake of yours.", minimum=0, default=2),
    Option("remote", str, "Exchange files through this DVC remote.", "NAME"),
)


def command_line(values: Mapping[str, Any], targets: Iterable[str]) -> list[str]:
    """The command line of `pipelines.run` for some values by name; what equals its default is left out."""
    line = []
    for option in OPTIONS:
        value = values.get(option.name, option.default)
        if value != option.default:
            line += [option.flag] if option.kind is bool else [option.flag, str(value)]
    targets = list(targets)
    return [*line, *(["--", *targets] if targets else [])]


def arguments(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line of `pipelines.run`; `dask` may stand alone, and `methods` becomes a list."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=SUMMARY)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=TARGETS)
    for option in OPTIONS:
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
    for option in OPTIONS:
        value = getattr(options, option.name)
        if option.minimum is not None and value is not None and value < option.minimum:
            parser.error(f"{option.flag} must be {option.minimum} or more, found {value}")
    options.methods = [name.strip() for name in (options.methods or "").split(",") if name.strip()]
    options.remote = options.remote or ""
    return options
