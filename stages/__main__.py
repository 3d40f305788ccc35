"""`python -m stages NAME ...`: run the stage in stages/NAME.py, that is its `main()`, as dvc.yaml does.

Slow things start first and side by side: the Prefect server and the recorder come up while the stage imports torch.
"""

import contextlib
import importlib
import os
import sys
from pathlib import Path

from pipelines import server
from pretextbench import track
from pretextbench.errors import UserError, nearest
from pretextbench.project import layout, lockfile
from pretextbench.project.environment import recorded
from stages.lifecycle import keep_freed, run, status

UNRECORDED = {"inventory"}  # runs on every `dvc repro`: see `stages.lifecycle.run`
RECORDER = {"pretrain": True, "evaluate": False, "compare": False}  # who writes to MLflow -> with an encoder?
STAGES = ("inventory", "prepare", "audit", "transfer", "views", "augment", "pretrain", "evaluate", "compare")


def main(name: str) -> int:
    """Run one stage by name and return its exit status."""
    if name not in STAGES:
        return status(UserError(f"There is no stage {name!r}.{nearest(name, STAGES)} Stages: {', '.join(STAGES)}."))
    root = layout.root()
    # The inventory starts a server only where there has never been one: the run is then certainly not an empty one,
    # and creating the server's database takes longer than anything else.
    wanted = name not in UNRECORDED or not (server.folder(root) / "prefect.db").exists()
    if wanted and not recorded():
        with contextlib.suppress(OSError):  # told when the flow starts
            server.begin(root)
    keep_freed()
    if os.environ.get("DVC_STAGE"):  # DVC has started this, and writes again when it has ended
        if name == "inventory":
            lockfile.complete(Path())
        lockfile.keep(Path())
    if name in RECORDER:
        track.warm(root, encoder=RECORDER[name])
    return run(name, lambda: importlib.import_module(f"stages.{name}").main(), flow=name not in UNRECORDED)


if __name__ == "__main__":
    sys.argv = [f"stages {' '.join(sys.argv[1:2])}", *sys.argv[2:]]
    sys.exit(main(sys.argv[0].removeprefix("stages ")))
