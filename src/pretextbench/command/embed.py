"""`pretextbench embed` and `pretextbench export`: an encoder for use elsewhere."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretextbench.command import encoder_lookup

if TYPE_CHECKING:
    from pretextbench.embedding.extract import Embedded, Embedder, Task
    from pretextbench.train.encoder_folder import Card


class Fit(StrEnum):
    """Conversion of an image that is not square."""

    crop = "crop"
    squash = "squash"
    pad = "pad"


class Precision(StrEnum):
    """Numeric precision of the network."""

    fp32 = "fp32"
    bf16 = "bf16"


Encoder = Annotated[str, typer.Argument(metavar="ENCODER", help=encoder_lookup.HELP)]
Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="An image, a folder of them at any depth, or a prepared images folder.")
]
Layer = Annotated[
    str | None,
    typer.Option(
        metavar="last|NAME",
        help="Another layer than the ranked one: `last`, or a name such as layer3.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images at once; changes memory and speed only.")]
FitOption = Annotated[Fit, typer.Option("--fit", help="How an image that is not square becomes so, as in params.yaml.")]


def embed(
    encoder: Encoder,
    images: Images,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="features.parquet, or features.npy.")],
    layer: Layer = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    fit: FitOption = Fit.crop,
    precision: Annotated[Precision, typer.Option(help="bf16 is for devices that are faster in it.")] = Precision.fp32,
) -> None:
    """Write the features of your images: a row per image, with the name of its file.

    They are those of the layer that the leaderboard ranks the encoder by. Where none is ranked, it is the last one. The
    output says which.
    Images are brought to the size that the encoder was trained on, as the prepare stage does it. Files that cannot be
    read are named with their reason in `features.refused.csv`, and counted.

    **Examples**

    * `pretextbench embed best photos/ -o features.parquet`: columns `file` and `features`
    * `pretextbench embed simclr-0 photos/ -o features.npy`: an array, with the names in `features.files.txt`
    * `pretextbench embed runs/pretrain/simclr-0 data/prepared/images -o all.npy --layer layer3`
    """
    from pretextbench.embedding import feature_file

    feature_file.check(output)
    folder = encoder_lookup.find(encoder)
    network, card, chosen = ready(folder, layer, device, precision.value)
    task = task_of(images, card, fit)
    with feature_file.writing(output, about(card, network, chosen, fit), task.refused) as writer:
        for names, features in followed(task, network, batch_size):
            writer.add(names, features.numpy())
    print_summary(task, output, described(card, chosen, network.dim))


def described(card: "Card", layer: encoder_lookup.Layer, dim: int) -> str:
    """An encoder, the layer of it that is used, and the length of its features: for people."""
    return f"{card.method}-{card.seed}, {layer}, {dim} features"


def ready(
    folder: Path, layer: str | None, device: str, precision: str = "fp32"
) -> "tuple[Embedder, Card, encoder_lookup.Layer]":
    """The encoder in a folder, on its device, and the layer of it that is used."""
    from pretextbench.embedding.extract import Embedder
    from pretextbench.embedding.extract import device as find_device
    from pretextbench.train import encoder_folder

    place = find_device(device)
    encoder, card = encoder_folder.load(folder)
    chosen = encoder_lookup.find_layer(folder, layer, encoder.layers)
    return Embedder(encoder, place, chosen.name, "bf16" if precision == "bf16" else "fp32"), card, chosen


def task_of(images: Path, card: "Card", fit: Fit) -> "Task":
    """The embedding of what IMAGES names, at the size of the encoder, with deep grey as it has seen it."""
    from pretextbench.embedding.extract import Task, gather

    return Task(gather(images, grey_range=card.grey_range), card.image_size, fit.value)


def about(card: "Card", network: "Embedder", layer: encoder_lookup.Layer, fit: Fit) -> dict[str, Any]:
    """The origin of the features, for the features file."""
    fields = ("method", "seed", "distribution", "version", "weights_sha256", "image_size")
    return {
        **card.model_dump(include=set(fields)),
        "layer": layer.name,
        "layer_choice": layer.choice,
        "precision": network.precision,
        "fit": fit.value,
    }


def followed(task: "Task", network: "Embedder", batch_size: int | None) -> "Iterator[Embedded]":
    """The batches of a task, with a progress bar on the standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    total = len(task.album.names)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("embedding", total=total)
        for batch in task.batches(network, batch_size or network.batch_size(task.side)):
            yield batch
            progress.update(bar, completed=task.done + len(task.refused))


def print_summary(task: "Task", output: Path, name: str) -> None:
    """Print the written and the refused files, and how the time was spent."""
    typer.echo(f"{output}: {name}, {task.done:,} images ({task.clock})")
    if task.refused:
        from pretextbench.embedding.extract import first_refused

        typer.echo(
            f"{len(task.refused):,} refused, named in {output.with_suffix('.refused.csv')}. "
            f"{first_refused(task.refused)}"
        )
    if task.album.ignored:
        typer.echo(f"{task.album.ignored:,} files that are no images were passed over.")


def export(
    encoder: Encoder,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="torchvision, timm, onnx or torchscript.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file: .safetensors (torchvision, timm), .onnx or .pt."
        ),
    ],
    layer: Layer = None,
) -> None:
    """Write an encoder for use without this library, and print the lines that load it.

    The features are those of the layer that the leaderboard ranks the encoder by, or of `--layer`. onnx and torchscript
    hold the network up to that layer; torchvision and timm hold all of it, and the lines take the features from there.

    The lines are run first, and their features compared with the encoder's own: where they differ by more than 1e-5 of
    the largest feature, nothing is written and the exit status is 1. A JSON card next to the file describes it.

    **Examples**

    * `pretextbench export best --to onnx -o encoder.onnx`: normalisation included, any number and size of images
    * `pretextbench export simclr-0 --to timm -o simclr.safetensors`
    """
    from pretextbench.export.write import DiffersError
    from pretextbench.export.write import export as write

    folder = encoder_lookup.find(encoder)
    try:
        exported = write(folder, to, output, lambda layers: encoder_lookup.find_layer(folder, layer, layers))
    except DiffersError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{output}: {folder.name}, {exported.features}, as {to}; with its card {exported.card.name}.")
    typer.echo(f"Compared with the original: {exported.agreement}.\n\nTo load it:\n\n{exported.code}")
