"""Checkpoints of a training run: written whole or not at all, loaded without running code from them."""

import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from pretextbench.errors import UserError
from pretextbench.files import write_whole


class Checkpoint:
    """The one checkpoint of a run, in a folder named by a hash of everything that determines the training.

    The folder lies outside the stage's outputs, because DVC deletes those before it runs a stage.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "checkpoint.pt"

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
        """Forget the run: its outputs are written."""
        shutil.rmtree(self.file.parent, ignore_errors=True)
