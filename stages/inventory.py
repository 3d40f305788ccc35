"""Stage `inventory`: params.yaml, plugins, image files -> methods, settings, source, tune/plan (.json) in runs/.

Other stages depend on these files and not on params.yaml: defaults are filled in, and fields that change no result are
left out. So a changed default makes a stage stale, and a changed `log_every` does not.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines import devices
from pretextbench import registry
from pretextbench.base.files import write_whole
from pretextbench.base.yaml_file import read_text
from pretextbench.errors import UserError
from pretextbench.params import Params, Prepare, Pretrain, Source, parse_text
from pretextbench.project import demands, layout, search_space, source_files
from pretextbench.project.environment import on_worker
from pretextbench.project.inventory import Entry, check_pair, check_references, images_known, take_stock
from pretextbench.project.settings import installed, settings
from pretextbench.project.source_files import digest

WORK = "step_multiply_adds"  # of an entry: counted once, where the budget is in multiply-adds
PRIVATE = ("fingerprint", WORK)  # of an entry: no stage depends on it


def main() -> None:
    """Check all parameters and list the contestants."""
    layout.require_plain_path(layout.root())
    text = read_text(layout.PARAMS)
    params = parse_text(text, str(layout.PARAMS))
    for place in (params.prepare.path, params.prepare.labels, params.transfer.path):
        layout.borrow(place)
    layout.borrow(params.encoder.weights)
    entries = take_stock(params, known := _checked())
    checked = [*entries.values(), *check_references(params, known).values()]
    demands.refuse([*demands.of_parameters(params, entries), *_of_machine(params.pretrain)])
    if params.pretrain.multiply_adds is not None:
        check_work(params, entries, params.pretrain.multiply_adds)
    write_whole(layout.checked(), json.dumps({entry["fingerprint"]: entry for entry in checked}).encode())
    public = {name: {k: v for k, v in entry.items() if k not in PRIVATE} for name, entry in entries.items()}
    source = {
        "files": _files(params.prepare, "prepare"),
        "transfer": params.transfer.model_dump() | _files(params.transfer, "transfer"),
    }
    written = settings(text, params)
    files = {
        layout.METHODS: json.dumps(public, indent=2, sort_keys=True),
        layout.SETTINGS: json.dumps(written, indent=2),
        layout.SOURCE: json.dumps(source, indent=2),
        layout.PLAN: json.dumps(search_space.plan(params), indent=2),
    }
    if any(not path.is_file() or path.read_text() != content + "\n" for path, content in files.items()):
        demands.refuse(demands.of_current_data(params, entries, written, source))
    for path, content in files.items():
        write_whole(path, (content + "\n").encode())


def check_work(params: Params, entries: Mapping[str, Entry], given: float) -> None:
    """Count the multiply-adds of a step of every contestant that has no count yet, and hold the budget against it.

    Raises:
        UserError: the budget is below one step of some method, or a method refuses the images that it comes to.
    """
    new = {name: entry for name, entry in entries.items() if WORK not in entry}  # an entry belongs to one budget
    for name, entry in new.items():
        entry[WORK] = _step_work(name, entry, params)
    demands.refuse(demands.of_work({name: entry[WORK] for name, entry in entries.items()}, given))
    demands.refuse(_lengths(params, new, given))


def _step_work(name: str, entry: Entry, params: Params) -> int:
    from pretextbench.command.rehearsal import step_work  # it imports torch: not needed when all are counted

    try:
        return step_work(name, params, demands.batch_of(entry, params))
    except UserError:
        raise
    except Exception:  # not the user's: the stages of the method, which have the data, show it in full
        return 0


def _lengths(params: Params, entries: Mapping[str, Entry], given: float) -> Iterator[str]:
    """What the methods say to the number of images that the budget comes to."""
    for name, entry in entries.items():
        if not entry[WORK]:
            continue
        images = demands.batch_of(entry, params) * round(given / entry[WORK])
        counted = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"images": images})})
        method = registry.load(entry.get("method", name))
        own = method.Params.model_validate(entry["params"])
        try:
            check_pair(name, method, own, counted, images_known(params))
        except UserError as error:
            yield str(error)


def _of_machine(params: Pretrain) -> Iterator[str]:
    """Mistakes about devices, where the trainings run on this machine. Torch is imported only if they matter."""
    if on_worker() or (params.accelerator != "gpu" and params.devices == 1):
        return
    gpus = 0 if installed("torch").endswith("+cpu") else len(set(devices.available()))
    if not gpus and params.accelerator != "cpu":
        import torch  # knows other makers' devices too, and takes seconds to import

        gpus = torch.cuda.device_count()
    yield from demands.of_devices(params, gpus)


def _files(source: Source, name: str) -> dict[str, Any]:
    """Number, bytes and hash of the files in a folder of images; nothing for another source."""
    if source.source != "folder" or not source.path:
        return {}
    folder = Path(source.path)
    source_files.check_links(folder)
    files = digest(folder, layout.contents(name))
    if isinstance(source, Prepare) and source.labels:
        files["labels"] = source_files.digest_of_labels(source.labels, layout.contents("labels"))
    return files


def _checked() -> dict[str, Entry]:
    try:
        known: dict[str, Entry] = json.loads(layout.checked().read_text())
    except (OSError, ValueError):  # a memory aid only: without it everything is checked again
        return {}
    return known
