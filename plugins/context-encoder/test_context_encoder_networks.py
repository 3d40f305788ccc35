"""The networks: the channel-wise layer as a matrix, and heads that fit every size of image."""

import pytest
import torch
from pretext_context_encoder import DISCRIMINATOR, MAIN
from pretext_context_encoder.networks import ChannelwiseLinear, Discriminator, Generator, sides

from pretextbench.params import EncoderParams

KINDS = ["central", "blocks", "region"]


class TestNetworks:
    def test_channelwise_is_a_block_diagonal_matrix(self):
        layer, x = ChannelwiseLinear(5, 3).double(), torch.randn(2, 5, 3, 3, dtype=torch.float64)
        dense = torch.block_diag(*layer.weight)  # (5 * 9, 5 * 9)
        torch.testing.assert_close(layer(x), (x.flatten(1) @ dense).view_as(x), atol=1e-12, rtol=0)
        assert sum(p.numel() for p in layer.parameters()) == 5 * 3**4

    def test_it_carries_across_the_whole_map_within_a_channel(self):
        layer, x = ChannelwiseLinear(2, 4), torch.zeros(1, 2, 4, 4)
        x[0, 0, 0, 0] = 1
        result = layer(x)
        assert (result[0, 0] != 0).all()
        assert (result[0, 1] == 0).all()

    def test_a_large_map_is_averaged_down_first(self):
        generator = Generator(8, 12, 96)
        assert generator.channelwise.weight.shape == (8, 64, 64)
        assert generator(torch.rand(2, 8, 12, 12)).shape == (2, 3, 96, 96)

    def test_sides_double_up_to_the_image(self):
        assert sides(4, 32) == [8, 16, 32]
        assert sides(1, 9) == [2, 3, 5, 9]

    @pytest.mark.parametrize("size", [4, 5, 8, 16, 33, 96])
    def test_the_discriminator_gives_one_logit_per_image_of_any_size(self, size):
        assert Discriminator(4, size)(torch.rand(2, 3, size, size)).shape == (2,)

    @pytest.mark.parametrize("size", [8, 9, 32, 96])
    @pytest.mark.parametrize("stem", ["small", "large"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_heads_fit_every_size_and_stem(self, method, batch, size, stem, kind):
        model = method(size, EncoderParams(width=4, stem=stem), missing=kind)
        x = torch.rand(2, 3, size, size)
        for player in (MAIN, DISCRIMINATOR):
            total = model.loss(batch(x, player)).total
            total.backward()
            assert total.isfinite()
