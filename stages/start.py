"""Start of a stage by its name: `main()` of stages/NAME.py, within the life that every stage has.

Slow things start first and side by side: the Prefect server and the recorder come up while the stage imports torch.
"""

import contextlib
import gc
import importlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from pipelines import server
from pretextbench import track
from pretextbench.errors import UserError, nearest
from pretextbench.project import layout, lockfile
from pretextbench.project.environment import recorded
from stages import tune
from stages.lifecycle import exit_status, keep_freed, run


class Traits(NamedTuple):
    """The needs of a stage that are not in dvc.yaml."""

    records: bool = False  # writes to MLflow
    flow: bool = True  # has a Prefect run: see `stages.lifecycle.run`


STAGES = {
    "inventory": Traits(flow=False),
    "prepare": Traits(),
    "audit": Traits(),
    "transfer": Traits(),
    "views": Traits(),
    "tune": Traits(records=True),
    "augment": Traits(),
    "pretrain": Traits(records=True),
    "reference": Traits(records=True),
    "evaluate": Traits(records=True),
    "compare": Traits(records=True),
}


def main(name: str) -> int:
    """Run one stage by name and return its exit status."""
    if name not in STAGES:
        return exit_status(
            UserError(f"There is no stage {name!r}.{nearest(name, STAGES)} Stages: {', '.join(STAGES)}.")
        )
    idle = name == "tune" and not any(map(tune.planned, sys.argv[1:2]))  # then it costs less than a flow of Prefect's
    traits, root = Traits(flow=False) if idle else STAGES[name], layout.root()
    # The inventory starts a server only where there has never been one: the run is then certainly not an empty one,
    # and creating the server's database takes longer than anything else.
    wanted = traits.flow or not (server.folder(root) / "prefect.db").exists()
    if wanted and not recorded():
        with contextlib.suppress(OSError):  # the flow gives the message when it starts
            server.begin(root)
    keep_freed()
    if os.environ.get("DVC_STAGE"):  # DVC has started this, and writes again when it has ended
        if name == "inventory":
            lockfile.complete(Path())
        lockfile.keep(Path())
    if traits.records:
        track.start_recorder(root)
    elif traits.flow:
        track.keep_recorder(root)
    return run(name, lambda: work(name), flow=traits.flow)


def work(name: str) -> None:
    """Import stages/NAME.py and run it; what was imported is no garbage and is not searched for any.

    Nor is it freed at the end. triton prints a list of its objects that were not, so it is imported later.
    """
    stage = importlib.import_module(f"stages.{name}")
    if not gc.get_freeze_count():  # the host has done it
        gc.freeze()
    gc.enable()
    stage.main()
