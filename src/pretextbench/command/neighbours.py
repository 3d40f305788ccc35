"""`pretextbench neighbours`: the images that an encoder takes for the most alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretextbench.command import encoder_lookup
from pretextbench.command.console import console, table
from pretextbench.command.embed import (
    BatchSize,
    Device,
    Fit,
    FitOption,
    Images,
    Layer,
    described,
    followed,
    ready,
    task_of,
)
from pretextbench.command.encoder_lookup import HELP
from pretextbench.errors import UserError

if TYPE_CHECKING:
    from pretextbench.embedding.similar import Bank, Neighbours

FEATURES = (".parquet", ".npy")
Source = Annotated[
    str,
    typer.Argument(metavar="ENCODER|FEATURES", help=f"{HELP} Or a file that `embed` wrote of IMAGES."),
]
Queries = Annotated[list[str], typer.Argument(metavar="QUERY...", help="An image file, or a name of one of IMAGES.")]


def neighbours(
    source: Source,
    images: Images,
    query: Queries,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each query.")] = 5,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw them too: a contact sheet, PNG.")
    ] = None,
    layer: Layer = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    fit: FitOption = Fit.crop,
) -> None:
    """Find the images that are the most similar to a query, by cosine of their features.

    The features are those of the layer that the leaderboard ranks the encoder by, or of `--layer`; the output says so.
    The query itself is left out of its neighbours. With a features file nothing is computed again, and the query must
    be one of its images.

    **Examples**

    * `pretextbench neighbours best photos/ cat.jpg`
    * `pretextbench neighbours features.parquet photos/ photos/cats/1.jpg -k 10 -o alike.png`
    """
    _check(output)
    from pretextbench.embedding.extract import gather
    from pretextbench.embedding.similar import Bank, lookup

    if Path(source).suffix in FEATURES:
        from pretextbench.embedding import feature_file

        saved = feature_file.read(Path(source))
        bank = Bank(saved.names, saved.values, gather(images), source=_source(saved.about, saved.values.shape[1]))
    else:
        bank = _embedded(encoder_lookup.find(source), images, layer, batch_size, device, fit)
    results = [lookup(bank, name, k) for name in query]
    typer.echo(bank.source, err=True)
    for result in results:
        _print(result)
    if output is not None:
        _draw(bank, results, output)


def _source(about: Mapping[str, Any], dim: int) -> str:
    """The encoder and the layer of a features file, where the file names them, and the length of its features."""
    choice = f" ({about['layer_choice']})" if "layer_choice" in about else ""
    name = f"{about.get('method', 'an encoder')}-{about.get('seed', '?')}"
    return f"{name}, {about.get('layer', 'unknown layer')}{choice}, {dim} features"


def _check(output: Path | None) -> None:
    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"-o: {output} does not end in .png, as a contact sheet does.")


def _embedded(folder: Path, images: Path, layer: str | None, batch_size: int | None, device: str, fit: Fit) -> "Bank":
    """The features of IMAGES, and a way to have those of a query."""
    import torch

    from pretextbench.embedding.similar import Bank

    network, card, chosen = ready(folder, layer, device)
    task = task_of(images, card, fit)
    batches = list(followed(task, network, batch_size))
    if task.refused:
        from pretextbench.embedding.extract import first_refused

        typer.echo(
            f"{len(task.refused):,} images cannot be read and are left out. {first_refused(task.refused)}", err=True
        )
    names = [name for batch in batches for name in batch.names]

    def embed(query: Path) -> torch.Tensor:
        return next(task_of(query, card, fit).batches(network, 1)).features[0]

    values = torch.cat([batch.features for batch in batches]).numpy()
    return Bank(names, values, task.album, embed, described(card, chosen, network.dim))


def _print(results: "Neighbours") -> None:
    rows = table("", "similarity", results.query)
    for rank, (name, similarity) in enumerate(zip(results.names, results.similarity, strict=True), 1):
        rows.add_row(str(rank), f"{similarity:.4f}", name)
    console().print(rows)


def _draw(bank: "Bank", results: "list[Neighbours]", output: Path) -> None:
    from pretextbench.base.picture import draw
    from pretextbench.embedding.similar import sheet

    draw([sheet(bank, results)], output)
    typer.echo(f"{output}: the images.")
