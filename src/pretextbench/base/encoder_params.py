"""Parameters of the encoder: its architecture, and the weights from which training starts."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pretextbench.base.files import sha256
from pretextbench.base.section import Section
from pretextbench.errors import UserError, nearest

NETWORKS = ("resnet10", "resnet18", "resnet34", "resnet50", "vit-tiny", "vit-small", "vit-base")  # of this project
LIBRARIES = ("timm", "torchvision")  # import names, which are those of the distributions too


def _network(name: str) -> str:
    library, slash, network = name.partition("/")
    foreign = slash and library in LIBRARIES and re.fullmatch(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*", network)
    if name not in NETWORKS and not foreign:
        own = ", ".join(map(repr, NETWORKS))
        raise ValueError(f"Input should be {own}, timm/NAME or torchvision/NAME.{nearest(name, NETWORKS)}".rstrip("."))
    return name


EncoderName = Annotated[str, AfterValidator(_network)]


def _patch(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and 1 <= value <= 256):
        return value
    raise ValueError("Input should be 'auto' or a number of pixels from 1 to 256")


Patch = Annotated[Literal["auto"] | int, PlainValidator(_patch)]  # one message, where a union would give two

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # of files of weights
LATER = ("weights", "skip_stem", "mean", "std")
Weights = Annotated[str, Field(min_length=1, max_length=1000)]
Mean = Annotated[float, Field(ge=0, le=1)]  # of a channel from 0 to 1
Std = Annotated[float, Field(gt=0, le=1)]


@cache
def _digest(path: Path, *identity: int) -> str:
    """The digest of a file, read again when size, inode or times are others."""
    return sha256(path)


class EncoderParams(Section):
    """The one backbone that every method shares."""

    name: EncoderName = Field(
        "resnet10", description="a residual network, a vision transformer, timm/NAME or torchvision/NAME"
    )
    width: int = Field(16, ge=4, le=256, description="channels of a residual network's first stage (papers: 64)")
    stem: Literal["auto", "small", "large"] = Field("auto", description="small: 3x3 stride 1; auto: small up to 64 px")
    patch: Patch = Field("auto", description="pixels on a side of a transformer's patch; auto: 64 to 256 patches")
    depth: int | None = Field(None, ge=1, le=48, description="blocks of a transformer; null = 12, as in the papers")
    weights: Weights | None = Field(None, description="where training starts: pretrained, a tag, a file or a folder")
    skip_stem: bool = Field(False, description="leave the first layer and its norm as initialised; needs `weights`")
    mean: tuple[Mean, Mean, Mean] | None = Field(
        None, description="of the channels from 0 to 1; null = of the weights, else the data's"
    )
    std: tuple[Std, Std, Std] | None = Field(None, description="as mean; both or none")

    @property
    def transformer(self) -> bool:
        """Whether the name is that of a vision transformer."""
        return self.name.startswith("vit-")

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that the network comes from, besides this one and torch."""
        library, slash, _ = self.name.partition("/")
        return ("timm",) if self.transformer else (library,) if slash else ()

    @model_validator(mode="after")
    def _belong_to_the_architecture(self) -> Self:
        of_resnets, of_transformers = ("width", "stem"), ("patch", "depth")
        foreign = (*(of_resnets if self.libraries else ()), *(() if self.transformer else of_transformers))
        for name in foreign:
            kind = "residual networks" if name in of_resnets else "vision transformers"
            if (value := getattr(self, name)) != (usual := type(self).model_fields[name].default):
                usual = "null" if usual is None else usual
                raise ValueError(
                    f"`{name}` is for {kind}, found {value!r} with name {self.name!r}. Leave it out, or set {usual}"
                )
        return self

    @model_validator(mode="after")
    def _weights_fit_the_library(self) -> Self:
        if self.weights_tag and "/" not in self.name:
            raise ValueError(
                f"`weights: {self.weights}` names weights of timm or torchvision, and {self.name} is a network of this "
                f"project. Choose timm/NAME or torchvision/NAME, or give a path, such as ./{self.weights}"
            )
        tags = {self.name.partition(".")[2], self.weights_tag or ""} - {"", "pretrained"}
        if len(tags) > 1:
            raise ValueError(f"`name: {self.name}` and `weights: {self.weights}` name different weights; name one")
        if self.skip_stem and self.weights is None:
            raise ValueError("`skip_stem` needs `weights`: without them every layer stays as initialised")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both `mean` and `std`, or none")
        return self

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields that came later are left out where they are empty: earlier cards and settings keep their bytes."""
        return {name: value for name, value in handler(self).items() if value or name not in LATER}

    @property
    def weights_tag(self) -> str | None:
        """The name of weights of timm or torchvision; None without, and for a path."""
        return self.weights if self.weights and re.fullmatch(r"\w+", self.weights) else None

    @property
    def tagged_name(self) -> str:
        """The name with the tag of its weights, by which timm knows their input size and normalisation."""
        tag = self.weights_tag
        if not self.name.startswith("timm/") or "." in self.name or tag in (None, "pretrained"):
            return self.name
        return f"{self.name}.{tag}"

    @property
    def weights_file(self) -> Path | None:
        """The file of weights: the one that is named, or that of an encoder folder; None without, and for a name."""
        if self.weights is None or self.weights_tag:
            return None
        path = Path(self.weights)
        return path if path.suffix in SUFFIXES else path / "encoder.safetensors"

    def start_sha256(self) -> str:
        """The digest of the file of weights; empty where there is none.

        Raises:
            UserError: the file cannot be read.
        """
        if self.weights_file is None:
            return ""
        try:
            status = self.weights_file.stat()
            return _digest(self.weights_file, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        except OSError as error:
            problem = f"{self.weights_file} cannot be read ({error.strerror})"
            if self.weights and Path(self.weights).is_file():
                problem = f"{self.weights} is a file of another kind"
            raise UserError(
                f"encoder.weights: {problem}. Give the path of a file ({', '.join(SUFFIXES)}) or of an encoder folder "
                "of this project."
            ) from None
