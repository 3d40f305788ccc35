"""`pretextbench init`: from a folder of images to params.yaml, with the reason of every choice and an estimate."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretextbench.base import child
from pretextbench.base.names import Layout, plain
from pretextbench.command.console import console, progress
from pretextbench.command.cost import Profile
from pretextbench.command.project import root
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from pretextbench.command.cost import Estimate
    from pretextbench.command.survey import Survey
    from pretextbench.command.template import Choice
    from pretextbench.params import Params

LabelColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column of the labels, where the table does not say.")
]
LayoutOption = Annotated[
    Layout, typer.Option(help="Which folder names the class; auto goes by the names and asks in doubt.")
]
ADVICE = {  # where the process that does it was ended
    "near": "Give --no-measure to do without it.",
    "estimate": "params.yaml is written: go on with `pretextbench run`, or lower pretrain.batch_size in it first.",
}
PARAMS, LINKS = "params.yaml", Path("data/labelled")
NEXT = """
Next:
  pretextbench run      trains, measures and compares; Ctrl-C at any time: the next run continues
  pretextbench report   opens the answer"""
DropDuplicates = Annotated[
    bool, typer.Option("--drop-duplicates", help="Leave out images that equal an earlier one, pixel for pixel.")
]


def init(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of images; nothing in it is changed.")],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="A table with the columns file and label, and split if there is one."),
    ] = None,
    label_column: LabelColumn = None,
    layout: LayoutOption = "auto",
    profile: Annotated[
        Profile, typer.Option(help="How much machine and patience there is; docs/own-images.md has the numbers.")
    ] = Profile.quick,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a params.yaml that was edited; it is kept as params.yaml.bak.")
    ] = False,
    drop_duplicates: DropDuplicates = False,
    measure: Annotated[bool, typer.Option(help="Measure the training step here, for the estimate: seconds.")] = True,
) -> None:
    """Look at a folder of images and write the params.yaml that compares methods on them.

    Counts images, sizes, modes, classes, duplicates and unreadable files; chooses image size, budget, batch, splits and
    controls, each with its reason; estimates time, memory and disk on this machine; and prints the next
    commands. The images stay where they are. The file is written whole or not at all.

    **Examples**

    * `pretextbench init --images ~/photos`: a first answer in minutes, with or without class folders
    * `pretextbench init --images ~/photos --labels labels.csv`: labels from a table
    * `pretextbench init --images ~/photos --profile standard`: five methods, three seeds, overnight
    """
    place = root()
    if label_column is not None and labels is None:
        raise UserError("--label-column chooses a column of a table: give the table with --labels FILE.csv.")
    from pretextbench.command import copies, survey, template
    from pretextbench.command.choose import choose, warnings

    folder = Path(os.path.abspath(images))
    backup = writable(place / PARAMS, template.SHIPPED.read_bytes(), force)
    path = _text(folder)
    out = console()
    with _worker(measure) as worker:
        with progress(out) as tell:
            tell("reading the names of the images")
            if labels is not None:
                layout = _linked(folder, labels, place, layout, label_column)
                folder, path = place / LINKS, str(LINKS)
            near = (lambda *sample: _ask(worker, "near", sample)) if worker else copies.near
            content = survey.look(folder, layout, tell, near)
        for line in (*survey.description(content), *(f"warning: {plain(line)}" for line in warnings(content))):
            out.print(line, style="yellow" if line.startswith("warning: ") else None)
        choices = choose(content, profile, path, _gpus() if profile is Profile.multi_gpu else 0, layout)
        if drop_duplicates:
            choices.append(template.Choice("prepare", "drop_duplicates", True, "by --drop-duplicates"))
        params = _write(place / PARAMS, choices, profile, backup)
        if worker:
            _print_cost(content, params, profile, place, worker)
    out.print(NEXT)


def writable(path: Path, shipped: bytes, force: bool) -> Path | None:
    """Whether params.yaml may be replaced; returns where an edited one is kept, None when there is none to keep.

    Raises:
        UserError: it was edited, and `--force` was not given.
    """
    if not path.exists() or path.read_bytes() == shipped:
        return None
    if not force:
        raise UserError(
            f"{path} is not the file that the project ships: it was edited. Give --force to replace "
            f"it; it is then kept as {PARAMS}.bak."
        )
    taken = [PARAMS + ".bak", *(f"{PARAMS}.bak{n}" for n in range(2, 1000))]
    return next(free for name in taken if not (free := path.with_name(name)).exists())


def _write(path: Path, choices: "list[Choice]", profile: Profile, backup: Path | None) -> "Params":
    """Write the shipped params.yaml with these choices, whole or not at all, and print that; returns the parameters."""
    from pretextbench.base.files import write_whole
    from pretextbench.command import template

    text = template.fill(template.SHIPPED.read_text("utf-8"), choices, _head(profile))
    params = template.check(text)
    if backup:
        write_whole(backup, path.read_bytes())
    write_whole(path, text.encode())
    console().print(f"\nWritten: {path}, each choice with its reason (the lines that begin with # ->).")
    if backup:
        console().print(f"The file before it is kept as {backup.name}.")
    return params


def _text(folder: Path) -> str:
    """The path as it can stand in a text file.

    Raises:
        UserError: it is not UTF-8.
    """
    path = str(folder)
    if re.search("[\ud800-\udfff]", path):
        raise UserError(f"--images: {plain(path)} is not written in UTF-8, which params.yaml is. Rename or link it.")
    return path


def _linked(folder: Path, labels: Path, place: Path, layout: Layout, column: str | None) -> Layout:
    """Make the folder of links of a table, and say what became of it; returns the layout of the links."""
    from pretextbench.command.labels import link

    made = link(folder, labels, place / LINKS, layout, column)
    out = console()
    out.print(
        f"{made.labelled:,} images in {made.classes} classes, {made.unlabelled:,} without a label, from "
        f"{plain(labels)}: linked in {LINKS}."
    )
    for note in made.notes:
        out.print(plain(note))
    return made.layout


def _head(profile: Profile) -> str:
    written = f"Written by `pretextbench init --profile {profile.value}`; yours to edit."
    return f"{written} The lines that begin with # -> are its reasons."


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@contextlib.contextmanager
def _worker(wanted: bool) -> Iterator[Connection | None]:
    """A process that imports what trains while the folder is surveyed, which takes seconds; `_ask` gives it work."""
    if not wanted:
        yield None
        return
    process = child.start(_serve)
    try:
        yield process.pipe
    finally:
        process.end()


def _serve(pipe: Connection) -> None:
    """Do what is asked: near duplicates, or an estimate. Lines on what is done go before the result."""
    from pretextbench.command.copies import near
    from pretextbench.command.estimate import estimate

    tasks: dict[str, Callable[..., Any]] = {"near": near, "estimate": partial(estimate, tell=pipe.send)}
    while True:
        name, arguments = pipe.recv()
        try:
            pipe.send(tasks[name](*arguments))
        except UserError as error:
            pipe.send(error)


def _ask(worker: Connection, name: str, arguments: tuple[object, ...], tell: Callable[[str], object] = str) -> Any:
    """The result of `near` or `estimate` in the other process.

    Raises:
        UserError: a contestant cannot be used, or the process was ended from outside, as where memory is short.
    """
    try:
        worker.send((name, arguments))
        while isinstance(answer := worker.recv(), str):
            tell(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise UserError(
            f"The process that measures was ended from outside, as happens where memory is short. {ADVICE[name]}"
        ) from None
    if isinstance(answer, UserError):
        raise answer
    return answer


def _print_cost(survey: "Survey", params: "Params", profile: Profile, place: Path, worker: Connection) -> None:
    if profile in (Profile.gpu, Profile.multi_gpu) and not _gpus():
        text = "no GPU is found here, so there is no estimate, and a run here would take very long"
        console().print(f"warning: {text}: copy the project to the machine that has one.", style="yellow")
        return
    from pretextbench.command.choose import training_images
    from pretextbench.command.cost import description

    images = min(survey.images, params.prepare.max_images or survey.images)
    counts = (training_images(survey, params.prepare.max_images), images)
    with progress(console()) as tell:
        request = (params, survey.pixels, counts, len(survey.classes), survey.decode_seconds)
        cost: Estimate = _ask(worker, "estimate", request, tell)
    for line in description(cost, place):
        console().print(line)
