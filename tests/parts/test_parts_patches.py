"""Patches against loops and torch's unfold; masks with exact counts; order lost and restored; the token decoder."""

import pytest
import torch
import torch.nn.functional as F
from lightly.models import utils as lightly
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams
from pretextbench.parts import Mask, TokenDecoder, patchify, random_mask, take, unpatchify, visible_patches


def images(b: int = 2, side: int = 12, c: int = 3) -> Tensor:
    return torch.arange(b * c * side * side, dtype=torch.float64).view(b, c, side, side)


def test_patches_are_cut_row_by_row() -> None:
    x, patch = images(), 4
    patches = patchify(x, patch)
    assert patches.shape == (2, 9, 48)
    for n in range(9):
        row, column = divmod(n, 3)
        for i in range(patch):
            for j in range(patch):
                pixel = x[:, :, row * patch + i, column * patch + j]
                assert torch.equal(patches[:, n, (i * patch + j) * 3 :][:, :3], pixel)


def test_unfold_and_lightly_agree() -> None:
    x = images(side=8)
    unfolded = F.unfold(x, 4, stride=4).mT.unflatten(2, (3, 16)).mT.flatten(2)  # channels last
    assert torch.equal(patchify(x, 4), unfolded)
    assert torch.equal(patchify(x, 4), lightly.patchify(x, 4))


@pytest.mark.parametrize(("side", "patch", "channels"), [(12, 4, 3), (6, 3, 1), (8, 8, 3), (5, 1, 2)])
def test_joining_undoes_cutting(side: int, patch: int, channels: int) -> None:
    x = images(side=side, c=channels)
    assert torch.equal(unpatchify(patchify(x, patch), patch), x)
    patches = torch.arange(2 * 9 * 12).view(2, 9, 12)
    assert torch.equal(patchify(unpatchify(patches, 2), 2), patches)


def test_an_image_that_is_no_square_is_cut_too() -> None:
    x = images()[:, :, :4]
    assert torch.equal(patchify(x, 4), patchify(images(), 4)[:, :3])


@pytest.mark.parametrize(("patches", "share", "visible"), [(64, 0.75, 16), (100, 0.9, 10), (9, 0.5, 4), (10, 0.33, 6)])
def test_the_number_of_visible_patches_is_the_whole_part(patches: int, share: float, visible: int) -> None:
    """In decimals: 0.9 of 100 leave 10, where binary fractions leave 9.99."""
    assert visible_patches("own", patches, share) == visible


@pytest.mark.parametrize(("share", "left"), [(1.0, "none visible"), (0.99, "none visible"), (0.0, "none hidden")])
def test_a_share_that_leaves_nothing_is_refused(share: float, left: str) -> None:
    message = (
        rf"Method 'own' hides a share of {share:g} of the 64 patches of an image, which leaves {left}\. Set `share`"
    )
    with pytest.raises(UserError, match=message):
        visible_patches("own", 64, share)


def test_a_mask_hides_exactly_so_many_of_each_image_and_all_alike() -> None:
    torch.manual_seed(0)
    mask = random_mask(2000, 9, 3, torch.device("cpu"))
    assert (mask.visible.shape, mask.hidden.shape) == ((2000, 3), (2000, 6))
    assert torch.equal(torch.cat(mask, 1).sort(1).values, torch.arange(9).expand(2000, -1))
    often = mask.visible.flatten().bincount(minlength=9) / 2000
    torch.testing.assert_close(often, torch.full((9,), 1 / 3), rtol=0, atol=4 * (2 / 9 / 2000) ** 0.5)
    assert len({tuple(sorted(row)) for row in mask.visible.tolist()}) == 84, "each image its own: 9 over 3 kinds"


def test_what_is_taken_apart_is_restored_in_order() -> None:
    tokens = torch.randn(5, 9, 4, generator=torch.Generator().manual_seed(0))
    mask = random_mask(5, 9, 4, torch.device("cpu"))
    visible, hidden = take(tokens, mask.visible), take(tokens, mask.hidden)
    assert torch.equal(visible[3, 1], tokens[3, mask.visible[3, 1]])
    assert torch.equal(mask.restore(visible, hidden), tokens)


def decoder(depth: int = 1) -> TokenDecoder:
    torch.manual_seed(0)
    encoder = build(EncoderParams(name="vit-tiny", depth=1, patch=4), 12, (0.5,) * 3, (0.25,) * 3)
    return TokenDecoder(encoder, 64, depth, outputs=5).eval()


def encoded(mask: Mask) -> Tensor:
    shape = (len(mask.visible), 1 + mask.visible.shape[1], 192)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_decoder_does_not_see_the_order_of_the_visible_tokens() -> None:
    """Each token brings its place along: the same tokens in another order give the same values of every patch."""
    network, mask = decoder(), random_mask(3, 9, 4, torch.device("cpu"))
    tokens, turned = encoded(mask), torch.tensor([2, 0, 3, 1])
    other = Mask(mask.visible[:, turned], mask.hidden.flip(1))
    values = network(tokens, mask)
    assert values.shape == (3, 9, 5)
    again = network(torch.cat([tokens[:, :1], tokens[:, 1:][:, turned]], 1), other)
    torch.testing.assert_close(again, values)
    elsewhere = network(tokens, Mask(mask.visible.roll(1, 1), mask.hidden))
    assert not torch.allclose(elsewhere, values, atol=1e-3)


@torch.no_grad()
def test_each_patch_has_a_position_of_its_own_and_the_hidden_ones_one_token() -> None:
    """Without blocks, a hidden patch is the mask token at its place, and sines and cosines are not learnt."""
    network, mask = decoder(), random_mask(1, 9, 4, torch.device("cpu"))
    network.blocks = torch.nn.Sequential()
    values = network(encoded(mask), mask)
    by_hand = network.last(network.norm(network.mask_token + network.positions))
    torch.testing.assert_close(take(values, mask.hidden)[0], by_hand[mask.hidden[0]])
    assert len(network.positions.unique(dim=0)) == 9
    torch.testing.assert_close(network.positions.square().sum(1), torch.full((9,), 32.0))
    assert "positions" not in network.state_dict()
    assert network.no_weight_decay() == {"mask_token"}
