"""Stage `inventory`: params.yaml, plugins and image files -> methods.json, settings.json and source.json in runs/.

Other stages depend on these files and not on params.yaml: defaults are filled in, and fields that change no result are
left out. So a changed default makes a stage stale, and a changed `log_every` does not.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines import devices
from pretextbench.base.files import write_whole
from pretextbench.base.yaml_file import read_text
from pretextbench.params import Pretrain, Source, parse_text
from pretextbench.project import demands, layout, source_files
from pretextbench.project.environment import on_worker
from pretextbench.project.inventory import Entry, check_references, take_stock
from pretextbench.project.settings import installed, settings
from pretextbench.project.source_files import digest


def main() -> None:
    """Check all parameters and list the contestants."""
    text = read_text(layout.PARAMS)
    params = parse_text(text, str(layout.PARAMS))
    for data in (params.prepare, params.transfer):
        layout.borrow(data.path)
    layout.borrow(params.encoder.weights)
    entries = take_stock(params, known := _checked())
    checked = [*entries.values(), *check_references(params, known).values()]
    demands.refuse([*demands.of_parameters(params, entries), *_of_machine(params.pretrain)])
    write_whole(layout.checked(), json.dumps({entry["fingerprint"]: entry for entry in checked}).encode())
    public = {name: {k: v for k, v in entry.items() if k != "fingerprint"} for name, entry in entries.items()}
    source = {
        "files": _files(params.prepare, "prepare"),
        "transfer": params.transfer.model_dump() | _files(params.transfer, "transfer"),
    }
    written = settings(text, params)
    files = {
        layout.METHODS: json.dumps(public, indent=2, sort_keys=True),
        layout.SETTINGS: json.dumps(written, indent=2),
        layout.SOURCE: json.dumps(source, indent=2),
    }
    if any(not path.is_file() or path.read_text() != content + "\n" for path, content in files.items()):
        demands.refuse(demands.of_current_data(params, entries, written, source))
    for path, content in files.items():
        write_whole(path, (content + "\n").encode())


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
    return digest(folder, layout.contents(name))


def _checked() -> dict[str, Entry]:
    try:
        known: dict[str, Entry] = json.loads(layout.checked().read_text())
    except (OSError, ValueError):  # a memory aid only: without it everything is checked again
        return {}
    return known
