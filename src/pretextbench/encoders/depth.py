"""Depth of an encoder's weights, for rates that fall from the last layers to the first ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.encoders.interface import Encoder
from pretextbench.encoders.resnet import ResNet
from pretextbench.errors import UserError


def depths(encoder: Encoder) -> dict[str, int]:
    """Depth of every parameter of the encoder, by name; 0 is the first layer.

    A layer is a block of a residual network or of a network of timm, as timm's own table has it, and a module of the
    forward pass of a network of torchvision. Norms without a layer of their own belong to the layer before them.

    Raises:
        UserError: the encoder is a backbone of a method's own, whose order is not known.
    """
    network: Any = getattr(encoder, "network", encoder)
    prefix = "" if network is encoder else "network."
    if hasattr(network, "group_matcher"):
        from timm.models import group_parameters  # here: such a network is of timm

        table: Mapping[str, int] = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    elif isinstance(encoder, ResNet):
        blocks = [f"{stage}.{i}" for stage in encoder.channels for i in range(len(encoder.get_submodule(stage)))]  # type: ignore[arg-type]
        table = _in_order(network, ["conv1", "bn1", *blocks])
    elif nodes := getattr(encoder, "nodes", None):
        table = _in_order(network, list(nodes.values()))
    else:
        raise UserError(
            f"pretrain.layer_decay: the encoder is a {type(encoder).__name__}, a backbone of its method's own, whose "
            "layers have no known order. Set pretrain.layer_decay to null."
        )
    last = max(table.values())
    return {prefix + name: table.get(name, last) for name, _ in network.named_parameters()}


def _in_order(network: nn.Module, modules: Sequence[str]) -> dict[str, int]:
    """Depths by modules in the order of the forward pass; parameters of none, such as a class token, are the first."""
    inside = {path: dict(network.get_submodule(path).named_parameters(prefix=path)) for path in modules}
    table = {name: 0 for name, _ in network.named_parameters()}
    depth = 0 if table.keys() - set().union(*inside.values()) else -1
    for parameters in inside.values():
        depth += any(parameter.ndim > 1 for parameter in parameters.values())  # a norm joins the layer before it
        table |= dict.fromkeys(parameters, depth)
    return table


def shares(encoder: Encoder, share: float, decay: float | None) -> dict[int, float]:
    """Share of the learning rate of every parameter, by identity: `share` at the last layer, times `decay` per layer.

    Raises:
        UserError: see `depths`.
    """
    if decay is None:
        return {id(parameter): share for parameter in encoder.parameters()}
    table = depths(encoder)
    last = max(table.values())
    return {id(parameter): share * decay ** (last - table[name]) for name, parameter in encoder.named_parameters()}


def check(encoder: Encoder, params: EncoderParams, decay: float | None) -> None:
    """Refuse a decay that cannot work, before anything is trained; the encoder may be on torch's device `meta`.

    Raises:
        UserError: there are no start weights, or the order of the layers is not known.
    """
    if decay is None:
        return
    if params.weights is None:
        raise UserError(
            "pretrain.layer_decay is for continued training, and there are no start weights: from random weights the "
            "first layers have everything to learn. Set encoder.weights, or pretrain.layer_decay to null."
        )
    depths(encoder)
