"""Vision transformers against timm's own outputs and published sizes; which tokens see which pixels; mistakes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from pretextbench.base.section import parse
from pretextbench.command import cost
from pretextbench.encoder import TokenEncoder, build
from pretextbench.encoders.vit import VisionTransformer, patch_size
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Params
from pretextbench.project.settings import settings
from pretextbench.train import work
from tests.checkout import PROJECT

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SIDE = 32


def network(name: str = "vit-tiny", depth: int | None = 4, side: int = SIDE, **params: object) -> VisionTransformer:
    torch.manual_seed(0)
    encoder = build(EncoderParams(name=name, depth=depth, **params), side, MEAN, STD)
    assert isinstance(encoder, VisionTransformer)
    return encoder


def images(n: int = 2, side: int = SIDE, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("side", [SIDE, 24, 18])
def test_maps_are_those_of_timm(side: int) -> None:
    """At the image size, at another one (positions are resampled), and where whole patches take padding."""
    encoder, x = network().double().eval(), images(side=side)
    with torch.no_grad():
        maps = encoder.stages(x)
        final, expected = encoder.network.forward_intermediates(encoder.normalise(x), indices=[0, 1, 2], norm=True)
        whole = encoder.network.forward_features(encoder.normalise(x))
    assert list(maps) == list(encoder.channels) == ["block1", "block2", "block3", "block4"]
    for ours, theirs in zip(maps.values(), expected, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(maps["block4"].flatten(2).mT, whole[:, 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder(x), final[:, 1:].mean(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("depth", "ends"), [(12, [3, 6, 9, 12]), (6, [2, 3, 5, 6]), (2, [1, 2]), (1, [1])])
def test_maps_come_after_every_quarter_of_the_blocks(depth: int, ends: list[int]) -> None:
    with torch.device("meta"):
        encoder = network(depth=depth)
        assert list(encoder.shapes.values()) == [(192, 8)] * len(ends)
    assert list(encoder.channels) == [f"block{end}" for end in ends]
    assert (encoder.dim, encoder.grid, encoder.prefix, encoder.patch) == (192, 8, 1, 4)


def test_a_graph_of_it_takes_any_number_of_images() -> None:
    """As the record of a run stores it: `torch.export`, with the number of images left open."""
    encoder, batch = network(depth=1).eval(), torch.export.Dim("batch")
    graph = torch.export.export(encoder, (images(2, dtype=torch.float32),), dynamic_shapes=({0: batch},)).module()
    x = images(5, dtype=torch.float32)
    torch.testing.assert_close(graph(x), encoder(x))


def test_all_tokens_encoded_are_the_last_map() -> None:
    encoder, x = network().double().eval(), images()
    with torch.no_grad():
        tokens = encoder.encode(encoder.embed(x))
        assert tokens.shape == (2, 1 + 64, 192)
        torch.testing.assert_close(tokens[:, 1:].mT.unflatten(2, (8, 8)), encoder.stages(x)["block4"])


@torch.no_grad()
def test_a_token_is_its_patch_at_its_place() -> None:
    """Pixels of one patch change its token alone; equal patches at two places have different tokens."""
    encoder, x = network().eval(), images(dtype=torch.float32)
    changed = x.clone()
    changed[:, :, 4:8, 8:12] = 0.5  # row 1, column 2
    differs = (encoder.embed(x) != encoder.embed(changed)).any(2)
    assert differs.sum(1).tolist() == [1, 1]
    assert differs[:, 8 + 2].all()
    flat = encoder.embed(torch.full_like(x, 0.5))
    assert not torch.allclose(flat[:, 0], flat[:, 1])


@torch.no_grad()
def test_some_tokens_are_encoded_without_the_others() -> None:
    """In their order, whatever pixels the other patches have, and otherwise than with them."""
    encoder, x = network().eval(), images(dtype=torch.float32)
    kept = torch.tensor([3, 40, 17])
    other = torch.rand_like(x)
    for place in kept.tolist():
        rows, columns = (slice(4 * k, 4 * k + 4) for k in divmod(place, 8))
        other[:, :, rows, columns] = x[:, :, rows, columns]
    encoded = encoder.encode(encoder.embed(x)[:, kept])
    assert encoded.shape == (2, 4, 192)
    assert torch.equal(encoded, encoder.encode(encoder.embed(other)[:, kept]))
    torch.testing.assert_close(encoded[:, [0, 3, 2, 1]], encoder.encode(encoder.embed(x)[:, kept.flip(0)]))
    assert not torch.allclose(encoded[:, 1], encoder.encode(encoder.embed(x))[:, 1 + 3], atol=1e-3)


def test_the_sizes_are_those_published() -> None:
    """Touvron 2021, table 1, without the classifier: 5.7, 22 and 86 million parameters; 1.3e9 multiply-adds."""
    for name, classifier, published in (
        ("vit-tiny", 193e3, 5.7e6),
        ("vit-small", 385e3, 22e6),
        ("vit-base", 769e3, 86e6),
    ):
        with torch.device("meta"):
            encoder = network(name, None, 224, patch=16)
        assert sum(p.numel() for p in encoder.parameters()) + classifier == pytest.approx(published, rel=0.01)
    encoder, n, d = network(depth=2, side=64), 65, 192
    block = 12 * n * d * d + 2 * n * n * d
    found = work.multiply_adds(lambda: encoder(torch.zeros(1, 3, 64, 64)))
    assert found == 2 * block + 64 * (3 * 8 * 8) * d, "attention is counted too"


def test_weights_come_from_the_generator_of_the_run() -> None:
    first, second = network().state_dict(), network().state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    other = build(EncoderParams(name="vit-tiny", depth=4), SIDE, MEAN, STD).state_dict()
    assert not torch.equal(first["network.pos_embed"], other["network.pos_embed"])


@pytest.mark.parametrize(
    ("side", "patch"),
    [
        *((8, 1), (16, 2), (32, 4), (33, 3), (40, 4), (48, 4), (56, 4)),
        *((64, 8), (96, 8), (100, 10), (128, 8), (160, 16), (192, 16), (224, 16), (256, 16), (512, 32)),
    ],
)
def test_the_patch_fits_the_image(side: int, patch: int) -> None:
    assert patch_size("auto", side) == patch
    assert side % patch == 0
    assert 64 <= (side // patch) ** 2 <= 256


@pytest.mark.parametrize(
    ("asked", "side", "message"),
    [
        (5, 32, r"encoder.patch is 5 px, which does not divide images of 32 px\. Set .* auto or to one of 1, 2, 4, 8,"),
        (64, 32, r"encoder.patch is 64 px, which does not divide images of 32 px"),
        ("auto", 61, r"no size of a patch cuts images of 61 px into 64 to 256 patches\. Set prepare.image_size"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(asked: int, side: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(side=side, patch=asked)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "vit-tiny", "width": 64},
            "`width` is for residual networks, found 64 with name 'vit-tiny'. Leave it",
        ),
        ({"name": "vit-base", "stem": "small"}, "`stem` is for residual networks, found 'small' with name 'vit-base'"),
        ({"patch": 4}, "`patch` is for vision transformers, found 4 with name 'resnet10'. Leave it out, or set auto"),
        ({"depth": 4}, "`depth` is for vision transformers, found 4 with name 'resnet10'. Leave it out, or set null"),
        ({"name": "vit-tiny", "patch": "large"}, r"Input should be 'auto' or a number of pixels from 1 to 256 \(found"),
        ({"name": "vit-tiny", "patch": 0}, r"Input should be 'auto' or a number of pixels from 1 to 256 \(found 0\)"),
        ({"name": "vit-tiny", "depth": 0}, "encoder.depth: Input should be greater than or equal to 1"),
    ],
)
def test_parameters_of_another_architecture_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(EncoderParams, given, "params.yaml", "encoder")
    assert "1 mistake:" in str(caught.value)


def test_a_transformer_has_timms_version_in_its_settings_and_a_resnet_has_not() -> None:
    for name, stages in (("vit-tiny", {"tune", "pretrain", "evaluate"}), ("resnet10", set())):
        versions = settings("", Params(encoder=EncoderParams(name=name)))["versions"]
        assert {stage for stage, names in versions.items() if "timm" in names} == stages


def test_the_estimate_knows_every_size() -> None:
    for name in get_args(EncoderParams.model_fields["name"].annotation):
        params = EncoderParams(name=name)
        with torch.device("meta"):
            weights = sum(p.numel() for p in build(params, SIDE, MEAN, STD).parameters())
        assert cost.encoder(params) == pytest.approx(4 * weights, rel=0.05)


def test_nothing_imports_timm_where_no_transformer_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No module does when it is imported, and a residual network is built where timm cannot be imported."""
    files = [path for folder in ("src", "stages", "pipelines", "plugins") for path in (PROJECT / folder).rglob("*.py")]
    early = [path for path in files if path.name[:5] != "test_" and "timm" in set(_imported_early(path))]
    assert len(files) > 200
    assert early == []
    monkeypatch.setitem(sys.modules, "timm", None)
    build(EncoderParams(width=4), SIDE, MEAN, STD)
    with pytest.raises(UserError, match=r"'vit-tiny' needs timm, which is not installed\. Install it: uv sync --extra"):
        network()


def _imported_early(path: Path) -> Iterator[str]:
    """Packages that a module imports outside of functions."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def test_a_token_encoder_is_what_methods_ask_for() -> None:
    assert isinstance(network(), TokenEncoder)
    encoder = network()
    encoder.image_size = None
    with pytest.raises(ValueError, match="no image_size"):
        _ = encoder.grid
