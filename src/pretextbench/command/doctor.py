"""`pretextbench doctor`: examines machine, installation, project and stores."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretextbench.command.console import Verdict, console, plain, table, verdict
from pretextbench.command.lock_holders import holders
from pretextbench.command.project import root
from pretextbench.command.sizes import size
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from pretextbench.params import Params

NAMED = ("torch", "torchvision", "kornia", "dvc", "prefect", "mlflow")  # whose version is told though it fits
LEAST_MEMORY = 2_000_000_000  # bytes: a stage of the default run takes 1.3 GB
LEAST_DISK = 1_000_000_000
UNKNOWN = 60_000  # images of a source that says nothing before it is downloaded


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    what: str
    verdict: Verdict
    found: str
    fix: str = ""


def examine(quick: bool = False) -> Iterator[Finding]:
    """Everything, from the machine to the project; `quick` leaves out what imports torch."""
    yield from machine()
    yield from versions()
    if not quick:
        yield from devices()
        yield from plugins()
    try:
        place = root()
    except UserError as error:
        yield Finding("project", "fault", str(error))
        return
    yield from project(place)
    yield from parameters(place, quick)
    yield from store(place)
    yield from locks(place)


def machine() -> Iterator[Finding]:
    """Cores and memory."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", "ok", f"{cores} to use, load {os.getloadavg()[0]:.1f}")
    memory = psutil.virtual_memory()
    little, found = memory.available < LEAST_MEMORY, f"{size(memory.available)} free of {size(memory.total)}"
    fix = "close something, or run with --jobs 1: a stage takes about 1.3 GB" if little else ""
    yield Finding("memory", "warning" if little else "ok", found, fix)


def versions() -> Iterator[Finding]:
    """Python and what is installed, against the bounds that the distribution states."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    wanted, here = metadata("pretextbench")["Requires-Python"] or "", ".".join(map(str, sys.version_info[:3]))
    fits = SpecifierSet(wanted).contains(here, prereleases=True)
    yield Finding("Python", "ok" if fits else "fault", f"{here}, wanted {wanted}")
    asked = [Requirement(line) for line in requires("pretextbench") or []]
    for need in asked:
        if need.marker is None or need.marker.evaluate({"extra": "pipeline"}):
            yield from installed(need.name, str(need.specifier))
    pair = next((str(r.specifier) for r in map(Requirement, requires("torchvision") or []) if r.name == "torch"), "")
    if pair and not SpecifierSet(pair).contains(version("torch"), prereleases=True):
        yield Finding(
            "torch and torchvision", "fault", f"torchvision wants torch {pair}, found {version('torch')}", SYNC
        )


SYNC = "`uv sync` installs what belongs together"


def installed(name: str, bounds: str) -> Iterator[Finding]:
    """One distribution; those that are there and fit are told only where people ask for their version."""
    from packaging.specifiers import SpecifierSet

    try:
        found = version(name)
    except PackageNotFoundError:
        yield Finding(name, "fault", f"not installed, wanted {bounds or 'any'}", SYNC)
        return
    if not SpecifierSet(bounds).contains(found, prereleases=True):
        yield Finding(name, "fault", f"{found}, wanted {bounds}", SYNC)
    elif name in NAMED:
        yield Finding(name, "ok", f"{found}, wanted {bounds or 'any'}")


def devices() -> Iterator[Finding]:
    """What torch computes on, and whether in bfloat16."""
    import torch

    from pretextbench.train.pretrain import bf16_pays

    said = {True: "bf16", False: "fp32 (bf16 would be emulated)"}
    for number in range(torch.cuda.device_count()):
        memory = size(torch.cuda.get_device_properties(number).total_memory)
        device = torch.device("cuda", number)
        yield Finding(
            f"GPU {number}", "ok", f"{torch.cuda.get_device_name(number)}, {memory}, {said[bf16_pays(device)]}"
        )
    if not torch.cuda.is_available():
        kind = said[bf16_pays(torch.device("cpu"))]
        yield Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads, {kind}; torch finds no GPU")
        if shutil.which("nvidia-smi"):
            yield Finding(
                "GPU", "warning", "there is a driver, but torch uses no GPU", "install a torch built for CUDA"
            )


def plugins() -> Iterator[Finding]:
    """Every installed method, usable or not."""
    from pretextbench.command.methods import states

    for state in states():
        origin = f"{state.distribution} {state.version}"
        fix = "correct or uninstall it; a comparison that names it stops" if state.problem else ""
        found = state.problem or f"API {state.api}, from {origin}"
        yield Finding(f"method {state.name}", "warning" if state.problem else "ok", found, fix)


def project(place: Path) -> Iterator[Finding]:
    """The folder, whether it can be written, and git."""
    fault = "" if os.access(place, os.W_OK) else "cannot be written"
    yield Finding(
        "project", "fault" if fault else "ok", f"{place} {fault}".strip(), "change its owner" if fault else ""
    )
    if shutil.which("git") is None:
        yield Finding("git", "warning", "not installed: records will not say at which commit a result was made")
        return
    inside = subprocess.run(["git", "-C", str(place), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if inside.returncode == 0:
        yield Finding("git", "ok", f"commit {inside.stdout.strip()}")
    else:
        yield Finding("git", "warning", "the project is in no commit: records will not say at which a result was made")


def parameters(place: Path, quick: bool) -> Iterator[Finding]:
    """params.yaml, the images that it names, and the disk that the comparison will take."""
    try:
        from pretextbench.params import load

        params = load(place / "params.yaml")
        if not quick:
            from pretextbench.project.inventory import take_stock

            take_stock(params, {})
    except UserError as error:
        yield Finding("params.yaml", "fault", str(error), "correct it, or `pretextbench init --images DIR --force`")
        return
    compared = (*params.compare.methods, *params.compare.controls)
    yield Finding("params.yaml", "ok", f"{', '.join(compared)}; {len(params.compare.seeds)} seed(s)")
    folder = place / (params.prepare.path or "")
    if params.prepare.source == "folder" and not folder.is_dir():
        yield Finding("images", "fault", f"prepare.path: {folder} is not a folder", "`pretextbench init --images DIR`")
        return
    yield disk(place, params)


def disk(place: Path, params: "Params") -> Finding:
    """Free space against what the comparison will hold."""
    from pretextbench.command.sizes import disk as wanted

    need, free = max(LEAST_DISK, wanted(params, images(place, params))), shutil.disk_usage(place).free
    found = f"{size(free)} free, the comparison takes up to {size(need)}"
    if free >= need:
        return Finding("disk", "ok", found)
    return Finding("disk", "fault", found, "free some, or lower prepare.max_images or prepare.image_size")


def images(place: Path, params: "Params") -> int:
    """Images of the source, without opening one."""
    from pretextbench.project.inventory import count_files

    source, drawn = params.prepare, params.prepare.synthetic
    counts = {"synthetic": drawn.train + drawn.val + drawn.test}
    if source.source == "folder":
        counts["folder"] = count_files(place / (source.path or ""))["files"]
    found = counts.get(source.source, UNKNOWN)
    return min(found, source.max_images or found)


def store(place: Path) -> Iterator[Finding]:
    """MLflow's store, and records that wait for it."""
    from pretextbench.track import records
    from pretextbench.track import store as mlflow_store

    found = mlflow_store.check(place)
    if found.problem:
        yield Finding("MLflow store", "fault", f"{found.address} {found.problem}", found.remedy)
    else:
        yield Finding(
            "MLflow store", "ok", found.address if found.exists else f"{found.address}: none yet, a run makes it"
        )
    waiting = len(records.waiting(place))
    if waiting:
        replay = "the next stage writes them, or `python -m pretextbench.track . --replay`"
        yield Finding("records", "warning", f"{waiting} wait for the store", replay)


def locks(place: Path) -> Iterator[Finding]:
    """Locks that a process holds, and those that a killed one left."""
    held = list(holders(place))
    for lock in held:
        yield Finding("lock", "warning", f"{lock.path.relative_to(place)}: {lock.holder}", lock.advice)
    if not held:
        yield Finding("locks", "ok", "nobody is at work here")


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Import no plugin and no torch: an answer at once.")] = False,
) -> None:
    """Check machine, versions, devices, disk, params.yaml, store, locks and plugins, and say what to fix.

    Changes nothing. Exit status 0 when nothing is a fault (warnings are none), else 1.

    **Examples**

    * `pretextbench doctor`
    * `pretextbench doctor && pretextbench run`
    """

    out, rows, faults = console(), table("", "what", "found, and what to do"), 0
    for finding in examine(quick):
        fix = f"\n-> {finding.fix}" if finding.fix else ""
        rows.add_row(verdict(finding.verdict), plain(finding.what), plain(finding.found + fix))
        faults += finding.verdict == "fault"
    out.print(rows)
    out.print(f"\n{faults} fault(s): mend them before a run." if faults else "\nNo faults.")
    if faults:
        raise typer.Exit(1)
