"""`pretextbench export`: an encoder as a torchvision or timm model, an ONNX graph, or TorchScript."""

from pathlib import Path
from typing import Annotated

import typer

from pretextbench.command import encoders
from pretextbench.command.embed import Encoder


def export(
    encoder: Encoder,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="torchvision, timm, onnx or torchscript.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file: .safetensors (torchvision, timm), .onnx or .pt.")
    ],
) -> None:
    """Write an encoder for use without this library, and print the lines that load it.

    The lines are run first, and their features compared with the encoder's own: where they differ by more than 1e-5 of
    the largest feature, nothing is written and the exit status is 1. A card beside the file (JSON) says what it is.

    **Examples**

    * `pretextbench export best --to onnx -o encoder.onnx`: normalisation included, any number and size of images
    * `pretextbench export simclr-0 --to timm -o simclr.safetensors`
    """
    from pretextbench.export.write import DiffersError
    from pretextbench.export.write import export as write

    folder = encoders.find(encoder)
    try:
        exported = write(folder, to, output)
    except DiffersError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{output}: {folder.name}, as {to}; beside it {exported.card.name}.")
    typer.echo(f"Compared with the original: {exported.agreement}.\n\nTo load it:\n\n{exported.code}")
