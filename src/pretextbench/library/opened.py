"""An opened comparison: a table, the answer in words, a plot, and the encoders, read from its folder."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pretextbench.encoder import Encoder
from pretextbench.errors import UserError, nearest
from pretextbench.library.embedder import Embedder
from pretextbench.project import layout
from pretextbench.train import encoder_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = {  # of leaderboard.csv -> of the table that is shown
    "linear": "linear %",
    "linear_low": "low",
    "linear_high": "high",
    "tie_group": "tie",
    "linear_layer": "layer",
    "knn": "k-NN %",
    "seconds": "seconds",
}
PERCENT = ("linear %", "low", "high", "k-NN %")


@dataclass(frozen=True)
class Trained:
    """An encoder of a comparison, and the layer at which it was ranked."""

    folder: Path
    layer: str

    @cached_property
    def encoder(self) -> Encoder:
        """The network: images (B, 3, H, W) in [0, 1] to features (B, D) of its last layer; `features` has all."""
        return encoder_folder.load(self.folder)[0]

    def embedder(self) -> Embedder:
        """Images to features of the ranked layer, as a transformer for pipelines of scikit-learn."""
        return Embedder(self.folder, self.layer)

    def embed(self, images: object) -> object:
        """Features (n, D), float32, of the ranked layer; `images` as in `Embedder.transform`."""
        return self.embedder().transform(images)

    def __repr__(self) -> str:
        return f"{self.folder.name}, {self.layer} (the ranked layer)"


class Result:
    """A finished comparison in a folder: of `compare`, or a project of the pipeline.

    Raises:
        UserError: the folder holds no finished comparison.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / layout.REPORTS / "leaderboard.csv").is_file():
            raise UserError(
                f"{folder} holds no finished comparison: there is no {layout.REPORTS}/leaderboard.csv. Give the folder "
                "of a project, after `pretextbench run`, or that of `compare`."
            )

    @cached_property
    def leaderboard(self) -> "pd.DataFrame":
        """One line per row, best first, by name; accuracies are fractions. The columns are those of leaderboard.csv."""
        import pandas as pd

        return pd.read_csv(self.folder / layout.REPORTS / "leaderboard.csv", index_col="name")

    @property
    def recommendation(self) -> str:
        """The answer in words, Markdown."""
        return (self.folder / layout.REPORTS / "recommendation.md").read_text(encoding="utf-8")

    @property
    def report(self) -> Path:
        """The page with everything, report.html."""
        return self.folder / layout.REPORT

    @property
    def best(self) -> Trained:
        """The encoder of the method that validation picked, at its lowest seed.

        Raises:
            UserError: nothing was picked, because there are no labels.
        """
        picked = self.leaderboard.index[self.leaderboard["picked"] == 1]
        if not len(picked):
            raise UserError("No method was picked: without labels none is recommended. Name one: `result['simclr']`.")
        return self[str(picked[0])]

    def __getitem__(self, name: str) -> Trained:
        """The encoder of a row ("simclr") at its lowest seed, or of a row and seed ("simclr-1").

        Raises:
            KeyError: there is no such row.
        """
        trained = {path.parent.name for path in (self.folder / layout.PRETRAINED).glob(f"*/{layout.CARD}")}
        row = name if name in self.leaderboard.index else name.rpartition("-")[0]
        seeds = sorted((run for run in trained if run.rpartition("-")[0] == name), key=lambda run: (len(run), run))
        run = name if name in trained else next(iter(seeds), "")
        if not run:
            known = ", ".join(map(str, self.leaderboard.index))
            raise KeyError(f"There is no row {name!r}.{nearest(name, self.leaderboard.index)} Rows: {known}.")
        layer = self.leaderboard["linear_layer"].get(row)
        folder = self.folder / layout.PRETRAINED / run
        return Trained(folder, str(layer) if isinstance(layer, str) else "last")

    @property
    def table(self) -> "pd.DataFrame":
        """The leaderboard in a few columns, in percent."""
        shown = self.leaderboard.reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
        for column in PERCENT:
            shown[column] = (100 * shown[column]).round(1)
        shown["seconds"] = shown["seconds"].round().astype(int)
        return shown.fillna("")

    def plot(self) -> "Figure":
        """The accuracy of the linear probe of each row, with its interval."""
        from matplotlib.figure import Figure

        table = self.leaderboard.dropna(subset=["linear"])[::-1]
        figure = Figure(figsize=(7, 0.6 + 0.38 * len(table)), layout="constrained")
        axes = figure.subplots()
        middle = 100 * table["linear"]
        ends = (middle - 100 * table["linear_low"], 100 * table["linear_high"] - middle)
        colours = ["#9aa3ad" if kind == "control" else "#2f6f9f" for kind in table["kind"]]
        axes.barh(table.index, middle, color=colours, xerr=ends, error_kw={"lw": 1.4, "capsize": 3})
        axes.set_xlabel("linear probe, test (%)")
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer and the table."""
        from markdown_it import MarkdownIt

        answer = self.recommendation.partition("\n## ")[0].partition("\n")[2]
        rendered = MarkdownIt("commonmark", {"html": False}).render(answer)
        return f"{rendered}{self.table.to_html()}<p>The whole report: {self.report}</p>"

    def __repr__(self) -> str:
        return f"{self.table.to_string()}\nThe whole report: {self.report}"
