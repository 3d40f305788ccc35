"""Encoders of timm: `timm/NAME` or `timm/NAME.TAG` in params.yaml, where NAME is one of `timm.list_models()`.

timm is imported when an encoder of it is built, and not before: it is an extra, and takes seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretextbench.encoders.adapter import Adapter, Offer, tidy
from pretextbench.encoders.interface import TokenEncoder
from pretextbench.errors import UserError, nearest

MISSING = (
    "encoder.name: {name} is a network of timm, which is not installed. Install it with `uv sync --extra encoders` (or "
    "`pip install timm`), or choose one of the residual networks."
)


def timm(name: str) -> Any:
    """The library, for the encoder called `name`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import timm as library
    except ImportError:
        raise UserError(MISSING.format(name=name)) from None
    return library


def require_network(name: str) -> Any:
    """The library, if it has the architecture and the tag of `timm/NAME.TAG`.

    Raises:
        UserError: it has not; the nearest name or the tags are named.
    """
    library = timm(name)
    architecture, _, tag = name.removeprefix("timm/").partition(".")
    if not library.is_model(architecture):
        hint = nearest(architecture, library.list_models())
        raise UserError(
            f"encoder.name: timm {library.__version__} has no network {architecture!r}.{hint} `timm.list_models()` "
            "lists all."
        )
    tags = [full.partition(".")[2] for full in library.list_pretrained(architecture + ".*")]
    if tag and tag not in tags:
        raise UserError(
            f"encoder.name: timm {library.__version__} has no weights {tag!r} of {architecture}.{nearest(tag, tags)} "
            f"Allowed: {', '.join(tags) or 'none'}."
        )
    return library


class TimmEncoder(Adapter):
    """A network of timm, by its `forward_intermediates`; tokens become maps, without class and register tokens.

    The last map equals `forward_features`: with the final norm of tokens, with the last convolution of an
    EfficientNet. Its average is the pooled vector.
    """

    def __init__(
        self, name: str, network: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        config: Any = network.pretrained_cfg
        side = int(config["input_size"][-1]) if config.get("fixed_input_size") else None
        self.names: list[str] = [tidy(info["module"]) for info in _features(network)]
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))
        self.norm = {"norm": True}  # the final norm, on the maps that take it
        super().__init__(name, network, image_size, mean, std, side)

    @property
    def usual(self) -> tuple[Sequence[float], Sequence[float]]:
        """See `Adapter.usual`."""
        config: Any = self.network.pretrained_cfg
        return config["mean"], config["std"]

    def offer(self, tag: str) -> Offer:
        """See `Adapter.offer`. The network is named with its tag where it has to be one."""
        config: Any = self.network.pretrained_cfg
        if not (config.get("hf_hub_id") or config.get("url") or config.get("file")):
            raise UserError(
                f"encoder.weights: timm has no weights of {self.name}. Give the path of a file, or set null."
            )
        name = self.name.removeprefix("timm/")

        def load() -> Mapping[str, Tensor]:
            loaded: nn.Module = timm(self.name).create_model(name, pretrained=True, num_classes=0)
            return loaded.state_dict()

        place = (
            f"model.safetensors of huggingface.co/{config['hf_hub_id']}" if config.get("hf_hub_id") else config["url"]
        )
        licence = config.get("license") or "not stated by timm"
        return Offer(self.name, tuple(config["mean"]), tuple(config["std"]), licence, place, load)

    def read(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """See `Adapter.read`."""
        wanted = [i for i, name in enumerate(self.names) if not self.channels or name in self.channels]
        final, maps = self._intermediates(x, wanted)
        named = dict(zip((self.names[i] for i in wanted), maps, strict=True))
        self.final_is_map = final.ndim == 4  # and not tokens
        if self.final_is_map:
            final = final.permute(0, 3, 1, 2) if self._channels_last else final
            last = self.names[-1]
            same = last in named and named[last].shape == final.shape
            named[last if same else FINAL] = final
        return named, self._class_token(final, list(named.values())[-1])

    def _class_token(self, final: Tensor, last: Tensor) -> Tensor | None:
        """The first of the tokens, where it is one: some families put none in front of the patches, or drop it."""
        network: Any = self.network
        tokens = final.ndim == 3 and final.shape[1] == self.prefix + last.shape[2] * last.shape[3]
        return final[:, 0] if tokens and self.prefix and getattr(network, "cls_token", None) is not None else None

    def readout_tokens(self) -> list[str]:
        """See `Adapter.readout_tokens`."""
        return ["tokens = model.eval().forward_features(normalise(sized))"]

    def readout(self, stage: str) -> list[str]:
        """See `Adapter.readout`."""
        index = self.names.index(stage) if stage in self.names else len(self.names) - 1
        norm = "".join(f", {name}={value}" for name, value in self.norm.items())
        lines = [f"final, (maps,) = model.eval().forward_intermediates(normalise(sized), indices=[{index}]{norm})"]
        if stage == list(self.channels)[-1] and self.final_is_map:
            lines.append("maps = final.permute(0, 3, 1, 2)" if self._channels_last else "maps = final")
        return lines

    @property
    def _channels_last(self) -> bool:
        """Whether the last map of the network is (B, h, w, C)."""
        return getattr(self.network, "output_fmt", "NCHW") == "NHWC"

    def _intermediates(self, x: Tensor, wanted: list[int]) -> tuple[Tensor, list[Tensor]]:
        model: Any = self.network
        try:
            final, maps = model.forward_intermediates(x, indices=wanted, **self.norm)
        except AssertionError:
            if not self.norm:
                raise
            self.norm = {}  # some families refuse the option
            final, maps = model.forward_intermediates(x, indices=wanted)
        return final, maps


class TimmTransformer(TimmEncoder, TokenEncoder):
    """A plain vision transformer of timm: any of its tokens can be encoded without the others."""

    def __init__(
        self, name: str, network: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(name, network, image_size, mean, std)
        model: Any = network
        self.patch = int(model.patch_embed.patch_size[0])

    @property
    def grid(self) -> int:
        """Patches on a side of the images at the network's size."""
        return int(self.network.get_submodule("patch_embed").grid_size[0])  # type: ignore[index]

    def embed(self, images: Tensor) -> Tensor:
        """See `TokenEncoder.embed`; patches are those of the resized images."""
        model: Any = self.network
        return self._placed(model.patch_embed(self.normalise(self.sized(images))))[:, self.prefix :]

    def encode(self, tokens: Tensor) -> Tensor:
        """See `TokenEncoder.encode`."""
        model: Any = self.network
        grid = (self.grid, self.grid) if model.dynamic_img_size else (self.grid**2,)
        patches = tokens.new_zeros(1, *grid, tokens.shape[-1])  # any: a prefix depends on no patch
        prefix = self._placed(patches)[:, : self.prefix].expand(len(tokens), -1, -1)
        encoded: Tensor = model.norm(model.blocks(model.norm_pre(torch.cat([prefix.to(tokens.dtype), tokens], 1))))
        return encoded

    def _placed(self, patches: Tensor) -> Tensor:
        """Tokens of all patches with the prefix in front and positions added, as the network's family does it."""
        model: Any = self.network
        placed: Tensor = model._pos_embed(patches)
        return placed


def build(name: str, image_size: int, mean: Sequence[float], std: Sequence[float]) -> TimmEncoder:
    """The encoder called `timm/NAME`, freshly initialised from torch's global generator.

    Raises:
        UserError: timm is not installed, does not have it, or it cannot be an encoder.
    """
    network = require_network(name).create_model(name.removeprefix("timm/"), num_classes=0)
    kind = TimmTransformer if _drops_tokens(network) else TimmEncoder
    return kind(name, network, image_size, mean, std)


def _drops_tokens(network: nn.Module) -> bool:
    """Whether a network is a plain vision transformer, of square patches that do not see each other before its blocks.

    Its positions are added to the tokens. Other families have positions in their blocks, or merge tokens on their way.
    """
    from timm.layers import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(network, VisionTransformer) or type(network.patch_embed) is not PatchEmbed:
        return False
    embed = network.patch_embed
    config: Any = network.pretrained_cfg
    plain = network.pos_embed is not None and config.get("fixed_input_size") and isinstance(embed.proj, nn.Conv2d)
    square = len({*embed.patch_size}) == len({*embed.grid_size}) == 1
    return bool(plain) and square and embed.grid_size[0] * embed.patch_size[0] == embed.img_size[0]


FINAL = "features"  # the stage behind the last one that timm lists, where there is one


def _features(model: nn.Module) -> list[dict[str, Any]]:
    """timm's description of the stages of a network."""
    info: Any = model.feature_info
    return list(getattr(info, "info", info))
