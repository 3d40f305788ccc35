"""`pretextbench init`: from a folder of images to params.yaml, with the reason of every choice and an estimate."""

import os
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretextbench.base.names import Layout, plain
from pretextbench.command.console import console, progress
from pretextbench.command.cost import Profile
from pretextbench.command.init_worker import ask, worker
from pretextbench.command.label_options import (
    GroupColumn,
    LabelColumn,
    Labels,
    TaskOption,
    asked_labels,
    given_labels,
    linked,
    typed_choices,
)
from pretextbench.command.project import root
from pretextbench.errors import UserError
from pretextbench.project.progress import keep_estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from pretextbench.command.choose_weights import Proposal
    from pretextbench.command.cost import Estimate
    from pretextbench.command.survey import Survey
    from pretextbench.command.weight_search import Search
    from pretextbench.params import Params

LayoutOption = Annotated[
    Layout, typer.Option(help="Which folder names the class; auto goes by the names and asks in doubt.")
]
ProfileOption = Annotated[
    Profile, typer.Option(help="How much machine and patience there is; docs/own-images.md has the numbers.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a params.yaml that was edited; it is kept as params.yaml.bak.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT", help="FILE, encoder FOLDER, timm/NAME[.TAG], torchvision/NAME, or none; else what caches have."
    ),
]
EncoderOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The network of the file of --weights, where that does not tell.")
]
PARAMS = "params.yaml"
LARGER, ROUND, LARGEST = (
    3,
    8,
    1024,
)  # times the side that is offered, at most; sides are multiples of it, up to the last
NEXT = """
Next:
  pretextbench run      trains, measures and compares; Ctrl-C at any time: the next run continues
  pretextbench report   opens the answer"""
Size = Annotated[
    int | None,  # its range is checked with the file, which also tells it
    typer.Option(
        metavar="SIDE",
        show_default=False,
        help="Pixels at which images are looked at, 8 to 1024; the cost grows with its square.",
    ),
]
NoMeasure = Annotated[
    bool, typer.Option("--no-measure", help="No estimate, for which a training step is measured here.")
]
DropDuplicates = Annotated[
    bool, typer.Option("--drop-duplicates", help="Leave out images that equal an earlier one, pixel for pixel.")
]


def init(
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of images; nothing in it is changed.")],
    labels: Labels = None,
    label_column: LabelColumn = None,
    task: TaskOption = "auto",
    group_column: GroupColumn = None,
    layout: LayoutOption = "auto",
    profile: ProfileOption = Profile.quick,
    size: Size = None,
    force: Force = False,
    drop_duplicates: DropDuplicates = False,
    weights: WeightsOption = None,
    encoder: EncoderOption = None,
    no_measure: NoMeasure = False,
) -> None:
    """Look at a folder of images and write the params.yaml that compares methods on them.

    Counts images, sizes, modes, classes, duplicates and unreadable files; chooses image size, budget, batch, splits and
    controls, each with its reason; looks for weights of trained encoders, without downloading any; estimates time,
    memory and disk on this machine; and prints the next commands. The images stay where they are. The file is
    written whole or not at all.

    **Examples**

    * `pretextbench init --images ~/photos`: a first answer in minutes, with or without class folders
    * `pretextbench init --images ~/photos --labels labels.csv`: labels from a table
    * `pretextbench init --images ~/photos --labels labels.csv --group-column patient`: a patient stays in one split
    * `pretextbench init --images ~/photos --profile standard`: several methods, three seeds, overnight
    * `pretextbench init --images ~/photos --weights resnet18.pth`: an encoder of others as a row
    """
    place, asked = root(), asked_labels(labels, label_column, task, group_column)
    from pretextbench.command import choose_weights, copies, survey, template, weight_search
    from pretextbench.command.choose import choose

    folder, out = Path(os.path.abspath(images)), console()
    backup = writable(place / PARAMS, template.SHIPPED.read_bytes(), force)
    path = _text(folder)
    looked = weight_search.candidates(weights, encoder, profile)
    with worker(not no_measure or bool(looked.candidates)) as process:
        with progress(out) as tell:
            proposal = _proposal(looked, encoder, profile, process, tell)
            tell("reading the names of the images")
            given = given_labels(folder, asked, layout, tell)
            if asked and not given:
                layout, folder, path = linked(folder, asked, place, layout)
            near = (lambda *sample: ask(process, "near", sample)) if process else copies.near
            content = survey.look(folder, layout, tell, near, given.listing if given else None)
        _print_survey(content, choose_weights.sentence(proposal, looked.looked, profile))
        gpus = _gpus() if profile is Profile.multi_gpu else 0
        choices = choose(content, profile, path, gpus, layout, proposal, size)
        choices += typed_choices(given, group_column, drop_duplicates)
        text = template.fill(template.SHIPPED.read_text("utf-8"), choices, _head(profile))
        params = template.check(text)
        if process and looked.candidates:
            ask(process, "accept", (params,))
        _write(place / PARAMS, text, backup)
        _print_size(params.prepare.image_size, content.short_side(0.5))
        if process and not no_measure:
            _print_cost(content, params, profile, place, process)
    out.print(NEXT)


def _print_size(side: int, usual: int) -> None:
    """Say that the images are made smaller, by how much, and what more would cost, which grows with the square."""
    larger = min(LARGER * side, usual // ROUND * ROUND, LARGEST)
    if larger > side:
        times = (larger / side) ** 2
        console().print(
            f"Your images are about {usual} px; this comparison looks at them at {side} px. `--size {larger}` (in "
            f"params.yaml: prepare.image_size) costs about {times:.{0 if times > 3 else 1}f} times as much."
        )


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


def _print_survey(content: "Survey", weights: str) -> None:
    from pretextbench.command.choose import warnings
    from pretextbench.command.survey import description

    for line in (*description(content), plain(weights)):
        console().print(line)
    for line in warnings(content):
        console().print(f"warning: {plain(line)}", style="yellow")


def _proposal(
    looked: "Search", network: str | None, profile: Profile, process: Connection | None, tell: "Callable[[str], object]"
) -> "Proposal":
    """How the weights that can be used are used.

    Raises:
        UserError: those that were given cannot be used.
    """
    from pretextbench.command.choose_weights import USED, propose

    usable = []
    if process and looked.candidates:
        tell("checking weights")
        usable = ask(process, "weights", (looked.candidates, network, USED))
    return propose(usable, profile)


def _write(path: Path, text: str, backup: Path | None) -> None:
    """Write params.yaml, whole or not at all, and print that."""
    from pretextbench.base.files import write_whole

    if backup:
        write_whole(backup, path.read_bytes())
    write_whole(path, text.encode())
    console().print(f"\nWritten: {path}, each choice with its reason (the lines that begin with # ->).")
    if backup:
        console().print(f"The file before it is kept as {backup.name}.")


def _text(folder: Path) -> str:
    """The path as it can stand in a text file.

    Raises:
        UserError: it is not UTF-8.
    """
    path = str(folder)
    if re.search("[\ud800-\udfff]", path):
        raise UserError(f"--images: {plain(path)} is not written in UTF-8, which params.yaml is. Rename or link it.")
    return path


def _head(profile: Profile) -> str:
    written = f"Written by `pretextbench init --profile {profile.value}`; yours to edit."
    return f"{written} The lines that begin with # -> are its reasons."


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _print_cost(survey: "Survey", params: "Params", profile: Profile, place: Path, process: Connection) -> None:
    if profile in (Profile.gpu, Profile.multi_gpu) and not _gpus():
        text = "no GPU is found here, so there is no estimate, and a run here would take very long"
        console().print(f"warning: {text}: copy the project to the machine that has one.", style="yellow")
        return
    from pretextbench.command.choose import training_images
    from pretextbench.command.cost import description, of_stages

    images = min(survey.images, params.prepare.max_images or survey.images)
    counts = (training_images(survey, params.prepare.max_images), images)
    with progress(console()) as tell:
        request = (params, survey.pixels, counts, len(survey.classes), survey.decode_seconds)
        cost: Estimate = ask(process, "estimate", request, tell)
    keep_estimate(place, of_stages(cost, params))
    for line in description(cost, place):
        console().print(line)
