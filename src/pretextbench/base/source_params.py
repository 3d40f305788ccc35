"""Parameters of the images: their source, how they are prepared, and a second data set."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pretextbench.base.names import Layout, Task
from pretextbench.base.section import Count, Fraction, Positive, RandomSeed, Section, SourceName

MIN_IMAGES = 10  # in all splits: with fewer, a split would be empty or a single image


class Synthetic(Section):
    """Sizes of the procedural data set that the library draws."""

    train: Count = Field(6000, description="training images")
    val: Count = Field(1000, description="validation images")
    test: Count = Field(2000, description="test images")


class Source(Section):
    """The source of the images."""

    source: SourceName | None = Field(None, description="where the images come from")
    path: str | None = Field(None, pattern=r"^[^\x00]*$", description="folder of images, or of a public data set")
    layout: Layout = Field("auto", description="which folder names the class; auto = by the names, asking in doubt")

    @model_validator(mode="after")
    def _path_and_source_agree(self) -> Self:
        if self.source == "folder" and not self.path:
            raise ValueError("source 'folder' needs `path`, the folder that holds the images")
        if self.path and self.source in (None, "synthetic"):
            setting = "no source" if self.source is None else "source 'synthetic', which reads no files"
            raise ValueError(f"`path` is {self.path!r}, with {setting}. Set `source: folder`, or `path: null`")
        return self


class Prepare(Source):
    """The images and their conversion to one array."""

    source: SourceName = Field("synthetic", description="where the images come from")
    labels: str | None = Field(
        None, pattern=r"^[^\x00]*$", description="table, annotations or masks; null = the folders are the classes"
    )
    task: Task = Field("auto", description="what the labels say of an image; auto = by their form")
    columns: tuple[str, ...] = Field(
        (), description="columns or kinds of object that are the labels; [] = by the names"
    )
    group: str | None = Field(None, description="column whose images stay in one split, or folder: that of an image")
    keep_together: Literal["duplicates"] | None = Field(None, description="near duplicates stay in one split")
    image_size: int = Field(32, ge=8, le=1024, description="side of the square images, pixels")
    fit: Literal["crop", "squash", "pad"] = Field("crop", description="how a non-square image becomes square")
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share of train held out where there is no val split")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of all held out where there is no test split")
    max_images: Positive | None = Field(None, description="largest number of images, drawn evenly; null = all")
    max_refused: Fraction = Field(0.01, description="stop when a larger share of the files cannot be read")
    drop_duplicates: bool = Field(False, description="leave out images that equal an earlier one, pixel for pixel")
    seed: RandomSeed = Field(0, description="of the drawn images and of the splits")
    synthetic: Synthetic = Field(default_factory=Synthetic)

    @model_validator(mode="after")
    def _labels_and_source_agree(self) -> Self:
        if self.labels and self.source != "folder":
            raise ValueError(f"`labels` is {self.labels!r}, with source {self.source!r}: labels belong to a folder")
        given = [name for name in ("columns",) if getattr(self, name)] + ["task"] * (self.task != "auto")
        if self.group not in (None, "folder") and not self.labels:
            raise ValueError(f"`group` is {self.group!r}, a column, and `labels` names no table. Allowed: folder")
        if given and not self.labels:
            raise ValueError(f"`{given[0]}` is of `labels`, which is null: name the table, or leave it out")
        return self


# The second data set has its own labels: those of its folders.
LABELS_OF_FOLDERS = {
    name: Prepare.model_fields[name].default for name in ("labels", "task", "columns", "group", "keep_together")
}


class Transfer(Source):
    """A second data set, for evaluation alone; it is brought to the size and cut of the first."""

    max_images: Positive | None = Field(None, description="largest number of images, drawn evenly; null = all")
