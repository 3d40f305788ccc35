"""The options of `init` on labels, and how they are read: as a folder of links, or by the stage `prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretextbench.base.names import Layout, Task, plain
from pretextbench.command.console import console
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pretextbench.command.given_labels import Asked, Given
    from pretextbench.command.template import Choice

FOLDER = "folder"  # of --group-column: the folder that an image is in
LINKS = Path("data/labelled")
Labels = Annotated[
    Path | None,
    typer.Option(metavar="WHAT", help="Labels: a table, COCO JSON, a folder of VOC, YOLO or masks, or DIR/{stem}.png."),
]
LabelColumn = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="The column of the labels, where the table does not say; again for several."),
]
TaskOption = Annotated[Task, typer.Option(help="What the labels say of an image; auto goes by their form.")]
GroupColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A column of patients, films or places, or `folder`: each stays in one split."),
]


def asked_labels(labels: Path | None, columns: list[str] | None, task: Task, group: str | None) -> "Asked | None":
    """The options on labels; None where there are none.

    Raises:
        UserError: an option needs --labels, which is not given.
    """
    options = {"--label-column": columns, "--group-column": group, "--task": None if task == "auto" else task}
    if labels is None:
        for option in (name for name, value in options.items() if value and value != FOLDER):
            what = "is about the labels" if option == "--task" else "chooses a column of a table"
            raise UserError(f"{option} {what}: give the table with --labels FILE.csv.")
        return None
    from pretextbench.command.given_labels import Asked  # imports pandas

    return Asked(labels, task, tuple(columns or ()), group)


def given_labels(
    folder: Path, asked: "Asked | None", layout: Layout, tell: "Callable[[str], object]"
) -> "Given | None":
    """Labels that the stage `prepare` reads; None where there are none, or they become folders of links."""
    if asked is None:
        return None
    from pretextbench.command import given_labels as reader

    if reader.are_links(folder, asked):
        return None
    tell("reading the labels")
    result = reader.given(folder, asked, layout)
    for note in result.labels.notes:
        console().print(plain(note))
    return result


def typed_choices(given: "Given | None", group: str | None, drop_duplicates: bool) -> "Iterator[Choice]":
    """Lines of params.yaml that options of `init` decide."""
    from pretextbench.command.template import Choice

    if given:
        yield from given.choices()
    elif group:
        yield Choice("prepare", "group", group, "the folder that an image is in, by --group-column")
    if drop_duplicates:
        yield Choice("prepare", "drop_duplicates", True, "by --drop-duplicates")


def linked(folder: Path, asked: "Asked", place: Path, layout: Layout) -> tuple[Layout, Path, str]:
    """Make the folder of links of a table in the project, print a summary; returns its layout and path."""
    from pretextbench.command.labels import link

    made = link(folder, asked.labels, place / LINKS, layout, next(iter(asked.columns), None))
    out = console()
    out.print(
        f"{made.labelled:,} images in {made.classes} classes, {made.unlabelled:,} without a label, from "
        f"{plain(asked.labels)}: linked in {LINKS}."
    )
    for note in made.notes:
        out.print(plain(note))
    return made.layout, place / LINKS, str(LINKS)
