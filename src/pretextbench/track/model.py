"""Encoders as logged models, which `mlflow.pytorch.load_model` opens on any machine.

It is logged as an exported program (.pt2): its graph and its weights. Neither writing nor loading pickles code, and
loading needs torch and MLflow, but neither this library nor the plugin of the method.
"""

from pathlib import Path

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.track.records import DIM, LAYER
from pretextbench.train import encoder_folder

NAME = "encoder"


def log(run_id: str, folder: Path, key: str, layer: str = "") -> str:
    """Log the encoder saved in `folder` with run `run_id`; returns the model's address (models:/...).

    Images in: float32 (B, 3, H, W) in [0, 1], any B. Features out: (B, dim), of `layer`, or of the last one if that is
    empty. The tags `layer` and `dim` and the metadata of the model name them.

    Raises:
        UserError: it cannot be loaded, or its weights are not those of `key`.
    """
    encoder, card = encoder_folder.load(folder)
    if card.weights_sha256 not in key:  # replaced since `records.still_valid` checked it
        raise UserError(f"The encoder in {folder} is not the one of {key}.")
    last = list(encoder.channels)[-1]
    network = LayerFeatures(encoder, layer).eval() if layer and layer != last else encoder
    shape = (3, card.image_size, card.image_size)
    example = np.random.default_rng(0).random(
        (2, *shape), dtype=np.float32
    )  # 2, because an export with a batch of 1 accepts no other size
    with torch.no_grad():
        features = network(torch.from_numpy(example))
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, *shape))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, features.shape[1]))]),
    )
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pytorch.log_model(
            network,
            name=NAME,
            tags={LAYER: layer, DIM: str(features.shape[1])},
            metadata={LAYER: layer or last, "method": card.method, "seed": card.seed, DIM: features.shape[1]},
            signature=signature,
            input_example=example,
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],  # inferring them takes 10 s
            serialization_format="pt2",
            validate_serving_input=False,  # it would load the model again to predict the example, and only warn
        )
    return str(info.model_uri)
