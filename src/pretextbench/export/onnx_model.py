"""As an ONNX graph, normalisation included: any number of images of any size, run without Python or torch."""

import warnings
from pathlib import Path

import torch

from pretextbench.encoder import Encoder
from pretextbench.export.formats import INPUT, network
from pretextbench.train.encoder_folder import Card

OPSET = 23  # of the ONNX standard: the newest that torch writes and ONNX Runtime runs


def write(encoder: Encoder, card: Card, path: Path, layer: str) -> None:
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


def code(encoder: Encoder, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` and turns `images` into `features`."""
    return "\n".join(
        [
            "import onnxruntime",
            "",
            f"session = onnxruntime.InferenceSession({str(path)!r}, providers=['CPUExecutionProvider'])",
            f"features = session.run(None, {{'images': images.numpy()}})[0]  # {INPUT}",
        ]
    )
