"""State of a training run on disk: written whole or not at all, loaded without running code.

During training: the last checkpoint. Afterwards: a copy of the outputs, kept until the caller confirms that DVC has
committed them. A kill between the last step and that moment costs no step.
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
        self.finished = folder / FINISHED  # exists when the training is over: copies of its output files

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
            UserError: the file is not a checkpoint.
        """
        if not self.file.is_file():
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of unusual pickles; the error below is enough
                state = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception as error:  # its reader, given broken bytes, may raise anything
            raise UserError(f"{self.file} cannot be read as a checkpoint. Delete it to train anew.") from error
        if not isinstance(state, dict):
            raise UserError(
                f"{self.file} is not a checkpoint: it holds {type(state).__name__}. Delete it to train anew."
            )
        return state

    def keep(self, step: int, weights: bytes) -> None:
        """Keep the encoder after a step, for the learning curve. A resumed training keeps the same bytes again.

        Raises:
            UserError: the folder cannot be written or the disk is full.
        """
        write_whole(self.file.parent / snapshot_name(step), weights)

    def snapshots(self) -> list[Path]:
        """The encoders that are kept, in the order of their steps."""
        return sorted(self.file.parent.glob("snapshot-*.safetensors"))

    def remove(self) -> None:
        """Remove the checkpoint and the encoders that were kept, when the training is over."""
        for file in (self.file, *self.snapshots()):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder may hold the finished outputs
            self.file.parent.rmdir()

    def remove_stale(self) -> None:
        """Remove the checkpoints that this method and seed left under earlier parameters, to free the disk."""
        for folder in self.file.parent.parent.glob("*/"):
            if folder != self.file.parent:
                shutil.rmtree(folder, ignore_errors=True)


def snapshot_name(step: int) -> str:
    """The file of the encoder after a step."""
    return f"snapshot-{step:09}.safetensors"


def finished(runs: Path) -> list[Path]:
    """The folders of finished trainings that are kept below `runs`, which belongs to one method and seed."""
    return sorted(runs.glob(f"*/{FINISHED}"))


def forget(finished: Path) -> None:
    """Remove a finished training: its outputs are safe."""
    shutil.rmtree(finished.parent, ignore_errors=True)


def same_files(a: Path, b: Path) -> bool:
    """True if two folders hold the same files, by name and bytes."""
    names = [sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None for folder in (a, b)]
    return bool(names[0] and names[0] == names[1] and not any(filecmp.cmpfiles(a, b, names[0], False)[1:]))
