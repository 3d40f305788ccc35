"""`pretextbench doctor`: examines machine, installation, project and stores."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretextbench.base.names import plain
from pretextbench.command import checkout_state
from pretextbench.command.checkout_state import Finding
from pretextbench.command.console import console, table, verdict
from pretextbench.command.cost import size
from pretextbench.command.project import root
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from pretextbench.params import Params

NAMED = ("torch", "torchvision", "kornia", "dvc", "prefect", "mlflow")  # listed with their version though it fits
LEAST_MEMORY = 2_000_000_000  # bytes: a stage of the default run takes 1.3 GB
LEAST_DISK = 1_000_000_000
UNKNOWN = 60_000  # images of a source whose size is unknown before it is downloaded


def examine(quick: bool = False) -> Iterator[Finding]:
    """Everything, from the machine to the project; `quick` leaves out what imports torch."""
    yield from machine()
    yield from versions()
    yield search_path()
    if not quick:
        yield from devices()
        yield from plugins()
    try:
        place = root()
    except UserError as error:
        yield Finding("project", "fault", str(error))
        return
    yield from (checkout_state.owner(place), checkout_state.git(place))
    yield from parameters(place, quick)
    yield from checkout_state.store(place)
    yield from checkout_state.prefect()
    yield from checkout_state.locks(place)


def machine() -> Iterator[Finding]:
    """Cores and memory."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", "ok", f"{cores} to use, load {os.getloadavg()[0]:.1f}")
    memory = psutil.virtual_memory()
    little, state = memory.available < LEAST_MEMORY, f"{size(memory.available)} free of {size(memory.total)}"
    remedy = "close something, or run with --jobs 1: a stage takes about 1.3 GB" if little else ""
    yield Finding("memory", "warning" if little else "ok", state, remedy)


def versions() -> Iterator[Finding]:
    """Python and installed packages, compared with the bounds of the distribution."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    wanted, running = metadata("pretextbench")["Requires-Python"] or "", ".".join(map(str, sys.version_info[:3]))
    fits = SpecifierSet(wanted).contains(running, prereleases=True)
    yield Finding("Python", "ok" if fits else "fault", f"{running}, wanted {wanted}")
    requirements = [Requirement(line) for line in requires("pretextbench") or []]
    for need in requirements:
        if need.marker is None or need.marker.evaluate({"extra": "pipeline"}):
            yield from installed(need.name, str(need.specifier))
    pair = next((str(r.specifier) for r in map(Requirement, requires("torchvision") or []) if r.name == "torch"), "")
    if pair and not SpecifierSet(pair).contains(version("torch"), prereleases=True):
        yield Finding(
            "torch and torchvision", "fault", f"torchvision wants torch {pair}, found {version('torch')}", SYNC
        )


SYNC = "`uv sync` installs what belongs together"


def installed(name: str, bounds: str) -> Iterator[Finding]:
    """One distribution; one that is installed and fits is listed only where people ask for its version."""
    from packaging.specifiers import SpecifierSet

    try:
        release = version(name)
    except PackageNotFoundError:
        yield Finding(name, "fault", f"not installed, wanted {bounds or 'any'}", SYNC)
        return
    if not SpecifierSet(bounds).contains(release, prereleases=True):
        yield Finding(name, "fault", f"{release}, wanted {bounds}", SYNC)
    elif name in NAMED:
        yield Finding(name, "ok", f"{release}, wanted {bounds or 'any'}")


def search_path() -> Finding:
    """The `dvc` that the shell would start: that of this installation, another one, or none."""
    own, dvc = Path(sys.executable).parent, shutil.which("dvc")
    if dvc and Path(dvc).parent == own:
        return Finding("search path", "ok", f"{own}, which has `dvc`")
    state = f"`dvc` is {dvc}, of another installation" if dvc else "no `dvc`: the environment is not activated"
    remedy = f"start with `uv run`, or with {own}/dvc; `pretextbench run` needs neither"
    return Finding("search path", "warning", state, remedy)


def devices() -> Iterator[Finding]:
    """The devices that torch can use, and whether they compute in bfloat16."""
    import torch

    from pretextbench.train.pretrain import bf16_pays

    precision = {True: "bf16", False: "fp32 (bf16 would be emulated)"}
    for number in range(torch.cuda.device_count()):
        memory = size(torch.cuda.get_device_properties(number).total_memory)
        device = torch.device("cuda", number)
        yield Finding(
            f"GPU {number}", "ok", f"{torch.cuda.get_device_name(number)}, {memory}, {precision[bf16_pays(device)]}"
        )
    if not torch.cuda.is_available():
        kind = precision[bf16_pays(torch.device("cpu"))]
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
        remedy = "correct or uninstall it; a comparison that names it stops" if state.problem else ""
        text = state.problem or f"API {state.api}, from {origin}"
        yield Finding(f"method {state.name}", "warning" if state.problem else "ok", text, remedy)


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
    compared = (*params.compare.methods, *params.compare.controls, *params.compare.references)
    yield Finding("params.yaml", "ok", f"{', '.join(compared)}; {len(params.compare.seeds)} seed(s)")
    folder = place / (params.prepare.path or "")
    if params.prepare.source == "folder" and not folder.is_dir():
        yield Finding("images", "fault", f"prepare.path: {folder} is not a folder", "`pretextbench init --images DIR`")
        return
    yield disk(place, params)


def disk(place: Path, params: "Params") -> Finding:
    """Free space against what the comparison will hold."""
    from pretextbench.command.cost import disk as wanted

    need, free = max(LEAST_DISK, wanted(params, images(place, params))), shutil.disk_usage(place).free
    state = f"{size(free)} free, the comparison takes up to {size(need)}"
    if free >= need:
        return Finding("disk", "ok", state)
    return Finding("disk", "fault", state, "free some, or lower prepare.max_images or prepare.image_size")


def images(place: Path, params: "Params") -> int:
    """Images of the source, without opening one."""
    from pretextbench.project.source_files import walk

    source, drawn = params.prepare, params.prepare.synthetic
    counts = {"synthetic": drawn.train + drawn.val + drawn.test}
    if source.source == "folder":
        counts["folder"] = sum(bool(file.identity) for file in walk(place / (source.path or "")))
    count = counts.get(source.source, UNKNOWN)
    return min(count, source.max_images or count)


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Import no plugin and no torch: an answer at once.")] = False,
) -> None:
    """Check machine, versions, devices, disk, git, params.yaml, servers, locks and plugins, and say what to fix.

    Changes nothing. Exit status 0 when nothing is a fault (warnings are none), else 1.

    **Examples**

    * `pretextbench doctor`
    * `pretextbench doctor && pretextbench run`
    """

    out, rows, faults = console(), table("", "subject", "state, and what to do"), 0
    for finding in examine(quick):
        remedy = f"\n-> {finding.remedy}" if finding.remedy else ""
        rows.add_row(verdict(finding.verdict), plain(finding.subject), plain(finding.state + remedy))
        faults += finding.verdict == "fault"
    out.print(rows)
    out.print(f"\n{faults} fault(s): mend them before a run." if faults else "\nNo faults.")
    if faults:
        raise typer.Exit(1)
