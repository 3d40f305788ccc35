"""What a training run keeps until its outputs are safe: written whole or not at all, loaded without running code.

While it trains, that is the last checkpoint; then what it has made, until somebody who knows says that the copy in the
stage's output is safe. A kill between the last step and that moment costs no step.
"""

import contextlib
import filecmp
import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from pretextbench.base.files import write_whole
from pretextbench.errors import UserError

FINISHED = "finished"


class Checkpoint:
    """The one checkpoint of a run, in a folder named by a hash of everything that determines the training.

    The folder lies outside the stage's outputs, because DVC deletes those before it runs a stage. Its parent belongs
    to one method and seed.
    """

    def __init__(self, folder: Path) -> None:
        self.key, self.file = folder.name, folder / "checkpoint.pt"
        self.finished = folder / FINISHED  # there when the training is over: copies of its output files

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old one or the new one.

        Raises:
            UserError: the folder cannot be written or the disk is full; the old checkpoint is then intact.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.file, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The last state saved, on the CPU, or None when there is none.

        Raises:
            UserError: something else wrote there.
        """
        if not self.file.is_file():
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a pickle that torch finds unusual: the error below says it all
                state = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception as error:  # its reader, given broken bytes, may raise anything
            raise UserError(f"{self.file} is no checkpoint that can be read. Delete it to train anew.") from error
        if not isinstance(state, dict):
            raise UserError(f"{self.file} is no checkpoint, but holds {type(state).__name__}. Delete it to train anew.")
        return state

    def remove(self) -> None:
        """Forget the state: the training is over."""
        self.file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what is finished may lie there
            self.file.parent.rmdir()

    def remove_others(self) -> None:
        """Forget what this method and seed has left under other parameters: a disk is not for ever."""
        for other in self.file.parent.parent.glob("*/"):
            if other != self.file.parent:
                shutil.rmtree(other, ignore_errors=True)


def finished(runs: Path) -> list[Path]:
    """The folders of finished trainings that are kept below `runs`, which belongs to one method and seed."""
    return sorted(runs.glob(f"*/{FINISHED}"))


def forget(finished: Path) -> None:
    """Remove a finished training: its outputs are safe."""
    shutil.rmtree(finished.parent, ignore_errors=True)


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, by name and bytes."""
    names = [sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None for folder in (one, other)]
    return bool(names[0] and names[0] == names[1] and not any(filecmp.cmpfiles(one, other, names[0], False)[1:]))
