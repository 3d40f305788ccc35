"""Labels that `init` is given: folders of links for a table of classes, else parameters of the stage `prepare`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pretextbench.base.names import Task
from pretextbench.command.survey import SIDE, as_typed
from pretextbench.command.template import Choice
from pretextbench.data import label_source, label_task
from pretextbench.data.file_match import find
from pretextbench.data.prepare import open_source
from pretextbench.data.source import Listing, explore
from pretextbench.data.table_columns import opened
from pretextbench.errors import UserError
from pretextbench.params import Prepare

if TYPE_CHECKING:
    from pretextbench.data.image_labels import ImageLabels


@dataclass(frozen=True)
class Asked:
    """The options of `init` on labels."""

    labels: Path
    task: Task = "auto"
    columns: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True)
class Given:
    """Labels that the stage `prepare` reads: the listing of the images with them, and their parameters."""

    listing: Listing
    params: Prepare

    @property
    def labels(self) -> "ImageLabels":
        """The labels."""
        if self.listing.given is None:
            raise ValueError("a listing without labels")
        return self.listing.given

    def choices(self) -> Iterator[Choice]:
        """Lines of params.yaml."""
        why, *_ = self.labels.notes
        yield Choice("prepare", "labels", self.params.labels, self.labels.description())
        yield Choice("prepare", "task", self.labels.task, why.partition(": ")[2])
        if self.params.columns:
            yield Choice("prepare", "columns", list(self.params.columns), "as they were given")
        if self.params.group:
            count = len(self.labels.group_names)
            yield Choice("prepare", "group", self.params.group, f"{count:,} groups, each in one split")


def are_links(folder: Path, asked: Asked) -> bool:
    """Whether the labels are a plain table of classes, which becomes class folders of links."""
    if asked.group or len(asked.columns) > 1 or asked.task not in ("auto", "class"):
        return False
    if not label_source.is_table(asked.labels):
        return False
    if asked.task == "class":
        return True
    names = [name.as_posix() for name in explore(folder, "--images").images]
    try:
        sheet = opened(asked.labels, names, asked.columns)
        images, *_ = find(asked.labels, folder, sheet.columns[sheet.file], names)
        return label_task.meaning(sheet, images, asked.columns, "auto").task == "class"
    except UserError:  # the reader of classes says what is wrong
        return True


def given(folder: Path, asked: Asked, layout: str) -> Given:
    """Labels of any task, matched with the images.

    Raises:
        UserError: see `label_source.attach`.
    """
    try:
        params = Prepare.model_validate(
            {
                "source": "folder",
                "path": str(folder),
                "layout": layout,
                "labels": str(asked.labels.absolute()),
                "task": asked.task,
                "columns": asked.columns,
                "group": asked.group,
                "image_size": SIDE,
            }
        )
        return Given(open_source(params), params)
    except UserError as error:
        raise UserError(as_typed(str(error))) from None
