"""Encoders of torchvision: `torchvision/NAME` in params.yaml, where NAME is one of its networks for classification.

torchvision is imported when an encoder of it is built, and not before: that takes seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.encoders.adapter import IMAGENET, Adapter, Offer, tidy
from pretextbench.errors import UserError, nearest

HEADS = ("fc", "classifier", "head", "heads")  # names of classifiers
BEHIND = {*HEADS, "avgpool", "flatten", "dropout", "permute"}  # what comes after the features
FOLDED = {"features", "layers", "trunk_output", "blocks"}  # hold the stages
BRANCHED = {"googlenet", "inception_v3"}  # with losses in the middle, and scales of the input of their own
TOKEN = ""  # no name of a module: the class token among the outputs of a pass
SIDES = {"maxvit_t": 224}  # pixels; a network that takes one size and does not keep it


def require_network(name: str) -> Any:
    """torchvision's models, if `torchvision/NAME` is one of them that can be an encoder.

    Raises:
        UserError: it is not; the nearest name is named.
    """
    from torchvision import models

    architecture = name.removeprefix("torchvision/")
    names = [other for other in models.list_models(module=models) if other not in BRANCHED]
    if architecture not in names:
        hint = " timm has it: timm/inception_v3." if architecture in BRANCHED else nearest(architecture, names)
        raise UserError(
            f"encoder.name: torchvision has no encoder {architecture!r}.{hint} Allowed: {', '.join(names)}."
        )
    return models


class TorchvisionEncoder(Adapter):
    """A network of torchvision, run module by module as its own forward pass does, up to the pooling.

    The average of the last map is the pooled vector; of a vision transformer it is that of the patches, after the
    final norm.
    """

    def __init__(self, name: str, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        architecture = name.removeprefix("torchvision/")
        model = require_network(name).get_model(architecture, weights=None)
        for head in HEADS:
            if hasattr(model, head):
                setattr(model, head, nn.Identity())
        self.nodes: dict[str, str] = {}  # stage -> name of the module, found by the first pass
        self.last_is_relu = architecture.startswith("densenet")  # a function there, not a module
        self.channels_last = architecture.startswith("swin")
        super().__init__(
            name, model, image_size, mean, std, SIDES.get(architecture, getattr(model, "image_size", None))
        )

    @property
    def usual(self) -> tuple[Sequence[float], Sequence[float]]:
        """See `Adapter.usual`: all weights of torchvision are made with ImageNet's."""
        return IMAGENET

    def offer(self, tag: str) -> Offer:
        """See `Adapter.offer`."""
        weights = require_network(self.name).get_model_weights(self.name.removeprefix("torchvision/"))
        names = [entry.name for entry in weights]
        if tag != "pretrained" and tag not in names:
            raise UserError(
                f"encoder.weights: torchvision has no weights {tag!r} of {self.name}.{nearest(tag, names)} Allowed: "
                f"{', '.join(names)}."
            )
        chosen = weights.DEFAULT if tag == "pretrained" else weights[tag]
        transforms, licence = chosen.transforms(), chosen.meta.get("license", "not stated by torchvision")

        def load() -> Mapping[str, Tensor]:
            tensors: Mapping[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
            return tensors

        return Offer(
            f"{self.name} {chosen.name}", tuple(transforms.mean), tuple(transforms.std), licence, chosen.url, load
        )

    def read(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """See `Adapter.read`."""
        named = dict(self._tokens(x) if "encoder" in dict(self.network.named_children()) else self._chain(x))
        token = named.pop(TOKEN, None)
        if self.channels_last:
            named = {name: feature_map.permute(0, 3, 1, 2) for name, feature_map in named.items()}
        if self.last_is_relu:
            *_, last = named
            named[last] = F.relu(named[last])
        kept = {name: output for name, output in named.items() if not self.channels or name in self.channels}
        return kept, token

    def readout_tokens(self) -> list[str]:
        """See `Adapter.readout_tokens`."""
        return ["tokens = create_feature_extractor(model.eval(), {'encoder.ln': 'tokens'})(normalise(sized))['tokens']"]

    def readout(self, stage: str) -> list[str]:
        """See `Adapter.readout`."""
        node = "relu" if self.last_is_relu and stage == list(self.channels)[-1] else self.nodes[stage]
        lines = [f"maps = create_feature_extractor(model.eval(), {{{node!r}: 'maps'}})(normalise(sized))['maps']"]
        if self.channels_last:
            lines.append("maps = maps.permute(0, 3, 1, 2)")
        if node.startswith("encoder."):
            lines.append("maps = maps[:, 1:].transpose(1, 2).unflatten(2, (round((maps.shape[1] - 1) ** 0.5), -1))")
        return lines

    def _chain(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """What comes out of each module in turn."""
        for name, module in self.network.named_children():
            if name in BEHIND:
                continue
            parts = module.named_children() if name in FOLDED else [("", module)]
            for part, step in parts:
                x = step(x)
                node = f"{name}.{part}" if part else name
                self.nodes[tidy(node)] = node
                yield tidy(node), x

    def _tokens(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The patches of a vision transformer, as maps: of each layer, and behind the final norm; the class token."""
        model: Any = self.network
        encoder, x = model.encoder, model._process_input(x)
        x = torch.cat([model.class_token.expand(len(x), -1, -1), x], dim=1)
        x = encoder.dropout(x + encoder.pos_embedding)
        for name, layer in encoder.layers.named_children():
            x = layer(x)
            self.nodes[tidy(name)] = f"encoder.layers.{name}"
            yield tidy(name), self._grid(x)
        self.nodes["ln"] = "encoder.ln"
        x = encoder.ln(x)
        yield "ln", self._grid(x)
        yield TOKEN, x[:, 0]

    @staticmethod
    def _grid(tokens: Tensor) -> Tensor:
        patches = tokens[:, 1:].transpose(1, 2)
        side = round(patches.shape[-1] ** 0.5)
        return patches.reshape(*patches.shape[:2], side, side)
