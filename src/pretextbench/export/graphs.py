"""Export as a graph that contains the normalisation: ONNX, which needs neither Python nor torch, or TorchScript."""

import warnings
from pathlib import Path

import torch
from torch import nn

from pretextbench.encoder import Encoder
from pretextbench.encoders.vit import VisionTransformer
from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.train.encoder_folder import Card

INPUT = "images: float32 (B, 3, H, W) in [0, 1]"
OPSET = 23  # of the ONNX standard: the newest that torch writes and ONNX Runtime runs
DEPRECATED = r"`torch\.jit\.\w+` is (deprecated|not supported)"  # torch advises torch.export


def network(encoder: Encoder, layer: str) -> nn.Module:
    """Gives the features of a layer; of the last one it is the encoder itself."""
    return encoder if layer == list(encoder.channels)[-1] else LayerFeatures(encoder, layer)


class Onnx:
    """An ONNX graph, for any number of images of any size."""

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """One file, weights included; the graph is checked against the standard."""
        import onnx

        example = torch.rand(2, 3, card.image_size, card.image_size, generator=torch.Generator().manual_seed(0))
        free = torch.export.Dim.DYNAMIC
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about itself
            program = torch.onnx.export(
                network(encoder, layer),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                external_data=False,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: free, 2: free, 3: free},),
            )
        assert program is not None, "what dynamo=True returns"
        program.save(str(path))
        onnx.checker.check_model(str(path), full_check=True)

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`."""
        return "\n".join(
            [
                "import onnxruntime",
                "",
                f"session = onnxruntime.InferenceSession({str(path)!r}, providers=['CPUExecutionProvider'])",
                f"features = session.run(None, {{'images': images.numpy()}})[0]  # {INPUT}",
            ]
        )


class TorchScript:
    """A TorchScript file, which loads in C++ and in Python without this library."""

    def write(self, encoder: Encoder, card: Card, path: Path, layer: str) -> None:
        """A trace: an encoder has no branches that depend on the pixels.

        Raises:
            UserError: it is a vision transformer, whose trace would take images of one size alone.
        """
        if isinstance(encoder, VisionTransformer):
            raise UserError(
                "--to torchscript: the trace of a vision transformer would take images of one size alone. Export it "
                "as timm or onnx."
            )
        example = torch.rand(2, 3, card.image_size, card.image_size, generator=torch.Generator().manual_seed(0))
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", DEPRECATED)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # shapes
            torch.jit.save(torch.jit.trace(network(encoder, layer), example), path)

    def code(self, encoder: Encoder, card: Card, path: Path, layer: str) -> str:
        """Python that loads `path` and turns `images` into `features`."""
        return "\n".join(
            [
                "import torch",
                "",
                f"model = torch.jit.load({str(path)!r})",
                "with torch.no_grad():",
                f"    features = model(images)  # {INPUT}",
            ]
        )
