"""Stage `inventory`: params.yaml, plugins and image files -> methods.json, settings.json and source.json in runs/.

Other stages depend on these files and not on params.yaml: defaults are filled in, and fields that change no result are
left out. So a changed default makes a stage stale, and a changed `log_every` does not.
"""

import json
from pathlib import Path
from typing import Any

from pretextbench.base.files import write_whole
from pretextbench.params import Source, load
from pretextbench.project import layout
from pretextbench.project.inventory import Entry, count_files, take_stock
from pretextbench.project.settings import settings


def main() -> None:
    """Check all parameters and list the contestants."""
    params, text = load(layout.PARAMS), layout.PARAMS.read_text(encoding="utf-8-sig")
    for data in (params.prepare, params.transfer):
        layout.borrow(data.path)
    entries = take_stock(params, _checked())
    write_whole(layout.checked(), json.dumps({entry["fingerprint"]: entry for entry in entries.values()}).encode())
    public = {name: {k: v for k, v in entry.items() if k != "fingerprint"} for name, entry in entries.items()}
    write_whole(layout.METHODS, (json.dumps(public, indent=2, sort_keys=True) + "\n").encode())
    write_whole(layout.SETTINGS, (json.dumps(settings(text), indent=2) + "\n").encode())
    source = {"files": _files(params.prepare), "transfer": params.transfer.model_dump() | _files(params.transfer)}
    write_whole(layout.SOURCE, (json.dumps(source, indent=2) + "\n").encode())


def _files(source: Source) -> dict[str, Any]:
    """Number, bytes and hash of the files in a folder of images; nothing for another source."""
    return count_files(Path(source.path)) if source.source == "folder" and source.path else {}


def _checked() -> dict[str, Entry]:
    try:
        known: dict[str, Entry] = json.loads(layout.checked().read_text())
    except (OSError, ValueError):  # a memory aid only: without it everything is checked again
        return {}
    return known
