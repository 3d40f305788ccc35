"""Images to features of an encoder, with the conventions of scikit-learn."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image as pil
from sklearn.base import BaseEstimator, TransformerMixin  # type: ignore[import-untyped]

from pretextbench.data.decode import square
from pretextbench.embedding import extract
from pretextbench.embedding.extract import LAST
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.train import encoder_folder


def load_encoder(folder: str | Path) -> Encoder:
    """The encoder of a folder with encoder.safetensors and encoder.json, in evaluation mode on the CPU.

    Raises:
        UserError: the folder holds no encoder, or a damaged one.
        PluginError: the method that built it is not installed.
    """
    return encoder_folder.load(Path(folder))[0]


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer for pipelines of scikit-learn: images to features of one layer of a frozen encoder.

    `encoder` is the folder of an encoder, `layer` the name of a layer or "last", `device` "auto", "cpu" or "cuda".
    """

    def __init__(self, encoder: str | Path, layer: str = LAST, device: str = "auto") -> None:
        self.encoder, self.layer, self.device = encoder, layer, device

    def fit(self, images: object = None, labels: object = None) -> Self:
        """Load the encoder; images and labels are not looked at."""
        network, self.card_ = encoder_folder.load(Path(self.encoder))
        self.embed_ = extract.Embedder(network, extract.device(self.device), self.layer)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True  # nothing is learned: `transform` loads the encoder where `fit` has not

    def transform(self, images: Any) -> npt.NDArray[np.float32]:
        """Features (n, D) of images, in their order.

        Args:
            images: an array (n, H, W, 3) of uint8, a folder, a file, or a sequence of files. Files are cut to a square
                and scaled to the encoder's image size, arrays of another size too.

        Raises:
            UserError: an image cannot be read, or an array is no array of images.
        """
        if not hasattr(self, "embed_"):
            self.fit()
        pixels = self._array(images) if isinstance(images, np.ndarray) else self._files(images)
        size = self.embed_.batch_size(self.card_.image_size)
        return np.concatenate([self.embed_(pixels[i : i + size]).numpy() for i in range(0, len(pixels), size)])

    def _array(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
            raise UserError(
                f"Images are an array (n, H, W, 3) of uint8, RGB; found {images.dtype} with the shape {images.shape}."
            )
        side = self.card_.image_size
        if images.shape[1:3] == (side, side):
            return images
        return np.stack([square(pil.fromarray(image), side, "crop") for image in images])

    def _files(self, images: str | Path | Any) -> npt.NDArray[np.uint8]:
        """The pixels of a folder, a file or a sequence of files: one that cannot be read is an error, not a gap."""
        paths = [images] if isinstance(images, str | Path) else list(images)
        pixels: list[npt.NDArray[np.uint8]] = []
        for path in paths:
            album = extract.gather(Path(path), "images", self.card_.grey_range)
            decoded = album.read(range(len(album.names)), self.card_.image_size, "crop")
            for name, image in zip(album.names, decoded, strict=True):
                if isinstance(image, str):
                    raise UserError(f"{album.root / name} cannot be read: {image}. Leave it out, or repair it.")
                pixels.append(image)
        if not pixels:
            raise UserError("There are no images to embed: the sequence is empty.")
        return np.stack(pixels)
