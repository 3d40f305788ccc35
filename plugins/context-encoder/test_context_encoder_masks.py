"""What is left out: regions counted and told apart, the band along what is visible."""

import pytest
import torch
from pretext_context_encoder import masks

CPU = torch.device("cpu")


class TestMasks:
    def test_the_central_square_is_a_quarter(self):
        region = masks.central(3, 32, CPU)
        assert region.shape == (3, 1, 32, 32)
        assert region.sum((1, 2, 3)).tolist() == [256] * 3
        assert region[:, :, 8:24, 8:24].all()

    def test_blocks_are_a_union_of_squares_inside_the_image(self):
        region = masks.blocks(64, 32, 0.25, 5, CPU)[:, 0]
        windows = region.unfold(1, 8, 1).unfold(2, 8, 1).all(-1).all(-1)  # (B, 25, 25): a whole square begins here
        covered = torch.zeros_like(region)
        for b, i, j in windows.nonzero().tolist():
            covered[b, i : i + 8, j : j + 8] = True
        assert torch.equal(covered, region)
        one = masks.blocks(64, 32, 0.25, 1, CPU)
        assert one.sum((1, 2, 3)).tolist() == [64] * 64

    @pytest.mark.parametrize("size", [32, 64])
    def test_five_blocks_cover_about_a_quarter(self, size):
        area = masks.blocks(2000, size, 0.25, 5, CPU).float().mean((1, 2, 3))
        assert float(area.mean()) == pytest.approx(0.266, abs=0.005)
        assert float(area.std()) == pytest.approx(0.028, abs=0.004)

    @pytest.mark.parametrize(("side", "count", "mean"), [(8, 5, 0.266), (8, 4, 0.221), (7, 6, 0.247), (6, 10, 0.292)])
    def test_blocks_cover_a_pixel_as_often_as_they_fit(self, side, count, mean):
        """1 - (1 - p)^count, p the share of a block's equally likely places that cover the pixel: few at a corner."""
        draws, places = 4000, 32 - side + 1
        along = torch.tensor([sum(i <= k < i + side for i in range(places)) for k in range(32)]).double() / places
        expected = 1 - (1 - torch.outer(along, along)) ** count
        result = masks.blocks(draws, 32, side / 32, count, CPU)[:, 0].double()
        assert ((result.mean(0) - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt()).all()
        area = result.mean((1, 2))
        assert float(area.mean()) == pytest.approx(float(expected.mean()), abs=4.5 * float(area.std()) / draws**0.5)
        assert float(expected.mean()) == pytest.approx(mean, abs=5e-4)

    def test_areas_of_two_blocks_are_those_of_all_pairs(self):
        """Against all pairs of places, 25^4 of them: 128 px less what two blocks of 8 px share."""
        away = (torch.arange(25)[:, None] - torch.arange(25)).abs().flatten()  # along one side, 625 equally likely
        shared = torch.outer(8 - away.clamp_max(8), 8 - away.clamp_max(8)).flatten()
        expected = torch.bincount(128 - shared, minlength=129).double() / 25**4
        area = masks.blocks(20_000, 32, 0.25, 2, CPU).sum((1, 2, 3))
        result = torch.bincount(area, minlength=129).double() / len(area)
        assert ((result - expected).abs() <= 4.5 * (expected / len(area)).sqrt()).all()

    def test_blocks_reach_every_corner_and_shrink_to_a_pixel(self):
        assert masks.blocks(500, 8, 0.25, 5, CPU).any(0).all()
        assert masks.blocks(4, 2, 0.25, 1, CPU).sum((1, 2, 3)).tolist() == [1] * 4

    @pytest.mark.parametrize("size", [16, 32, 96])
    def test_regions_cover_20_to_30_percent(self, size):
        bank = masks.bank(64, size, 8)
        area = masks.regions(bank, 200).float().mean((1, 2, 3))
        assert bank.dtype == torch.bool
        assert area.min() >= 0.2
        assert area.max() <= 0.3
        assert float(bank.float().mean()) == pytest.approx(0.25, abs=0.01)

    def test_a_bank_exists_for_the_smallest_image(self):
        assert masks.bank(16, 8, 8).shape == (16, 8, 8)
        assert masks.bank(16, 8, 64).shape == (16, 8, 8)

    def test_noise_is_smooth_across_the_edges(self):
        field = masks.smooth_noise(32, 32, 8)
        inside = (field[:, 1:] - field[:, :-1]).abs().mean()
        seam = (field[:, 0] - field[:, -1]).abs().mean()
        assert seam < 1.2 * inside

    def test_a_region_is_a_mask_of_the_bank_moved(self):
        bank = masks.bank(1, 8, 4)
        moved = {
            tuple(torch.rot90(m, turns, (0, 1)).roll((dy, dx), (0, 1)).flatten().tolist())
            for m in (bank[0], bank[0].flip(0))
            for turns in range(4)
            for dy in range(8)
            for dx in range(8)
        }
        drawn = {tuple(m.flatten().tolist()) for m in masks.regions(bank, 2000)}
        assert drawn <= moved
        assert len(drawn) > 0.9 * len(moved)  # 512 kinds of draw, 2000 draws: all but exp(-3.9) = 2 % turn up

    def test_each_image_draws_from_the_whole_bank(self):
        bank = torch.tensor([False, True])[:, None, None].expand(2, 4, 4)
        assert set(masks.regions(bank, 64).float().mean((1, 2, 3)).tolist()) == {0.0, 1.0}

    @pytest.mark.parametrize("kind", ["blocks", "region"])
    def test_each_image_has_its_own_and_the_seed_decides(self, method, kind):
        model = method(missing=kind)
        first = model.draw(8)
        assert len({tuple(m.flatten().tolist()) for m in first}) == 8
        torch.manual_seed(5)
        again = model.draw(8)
        assert not torch.equal(first, again)
        torch.manual_seed(5)
        assert torch.equal(model.draw(8), again)

    def test_the_band_lies_inside_the_region_along_what_is_visible(self):
        hole, band = masks.overlap(masks.central(1, 32, CPU), 2)
        assert hole.sum() == 144
        assert hole[:, :, 10:22, 10:22].all()
        assert torch.equal(hole | band, masks.central(1, 32, CPU))
        corner = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        corner[..., :4, :4] = True
        hole, _ = masks.overlap(corner, 1)
        assert hole.sum() == 9, "the edge of the image is no border"
        assert hole[..., :3, :3].all()

    def test_a_region_too_thin_for_a_band_keeps_none(self):
        region = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
        region[0, 0, 3:5, 3:5] = True
        region[1, 0, 1:7, 1:7] = True
        hole, band = masks.overlap(region, 1)
        assert torch.equal(hole[0], region[0])
        assert not band[0].any()
        assert hole[1].sum() == 16

    def test_the_band_is_the_papers_for_the_centre_and_none_for_the_others(self, method):
        model = method(missing="central")
        assert model.split(model.draw(1))[0].sum() == 144  # 2 of 32 px, 7 of 128
        for kind in ("blocks", "region"):
            model = method(missing=kind)
            assert not model.split(model.draw(4))[1].any()
        assert method(missing="blocks", overlap=0.03).split(model.draw(4))[1].any()
