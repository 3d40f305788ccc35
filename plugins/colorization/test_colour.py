"""Lab, bins, codes and weights against scikit-image, the published list, brute force in float64 and closed forms."""

import hashlib
import math

import numpy as np
import pytest
import torch
from pretext_colorization import lab
from pretext_colorization.bins import Code, ab_bins, coloured, soft_cross_entropy, weights
from scipy.spatial import ConvexHull
from skimage import color
from torch import Tensor

torch.set_num_threads(1)
Q = 313
LIST = "5fd1ff840bb9504bc08a988f236f60c2c619bf0be531e655c353818fe597d9ce"  # of the authors' pts_in_hull as "a,b;a,b"
ROWS = {  # a: first and last b
    **{-90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100)},
    **{-20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90)},
    **{50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0)},
}
EDGE = torch.tensor([0.0, 0.04045, 0.0404501, 0.5, 1.0])  # where the transfer function changes


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def gamut(n: int = 4000) -> Tensor:
    """ab of random sRGB colours, (n, 2), float64."""
    return lab.ab(noise(1, 3, 1, n, dtype=torch.float64))[0, :, 0].T


def corners(grid: int) -> Tensor:
    """Points near the corners between bins, where most bins compete, without ties, (n, 2), float64."""
    middle = torch.from_numpy(ab_bins(grid)).double() + grid / 2
    return torch.cat([middle + 0.01 * noise(*middle.shape, dtype=torch.float64), middle - torch.tensor([0.02, 0.013])])


# --- Lab ------------------------------------------------------------------------------------------------------------


def test_lab_equals_scikit_image() -> None:
    x = torch.cat((noise(1, 3, 50, 60), EDGE.view(1, 1, 1, 5).expand(1, 3, 50, 5)), 3)
    expected = color.rgb2lab(x[0].movedim(0, -1).double().numpy())
    assert np.abs(lab.rgb_to_lab(x)[0].movedim(0, -1).numpy() - expected).max() < 2e-4


def test_rgb_of_lab_equals_scikit_image() -> None:
    """In float64, where the two have the same formulas; out of gamut both clip."""
    values = torch.cat((lab.rgb_to_lab(noise(1, 3, 20, 30, dtype=torch.float64)), torch.zeros(1, 3, 1, 30)), 2)
    values[:, 0, -1], values[:, 1, -1] = 30.0, 20.0
    expected = color.lab2rgb(values[0].movedim(0, -1).numpy())
    assert np.abs(lab.lab_to_rgb(values)[0].movedim(0, -1).numpy() - expected).max() < 1e-5


def test_eight_bit_colours_come_back_exactly() -> None:
    steps = torch.arange(0, 256, 5, dtype=torch.float32)
    x = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(2)[None]
    assert torch.equal((lab.lab_to_rgb(lab.rgb_to_lab(x / 255)) * 255).round(), x)


@pytest.mark.parametrize("side", [8, 30, 32])
def test_targets_are_every_stride_th_pixel(side: int) -> None:
    x = noise(2, 3, side, side)
    lightness, ab = lab.lightness(x), lab.ab(x, 4)
    whole = lab.rgb_to_lab(x)
    assert torch.allclose(lightness, whole[:, :1], atol=1e-4)
    assert torch.allclose(ab, whole[:, 1:, ::4, ::4], atol=1e-4)


# --- bins and code --------------------------------------------------------------------------------------------------


def test_the_313_bins_are_the_authors_list() -> None:
    bins = ab_bins()
    assert len(bins) == Q
    assert hashlib.sha256(";".join(f"{a},{b}" for a, b in bins.tolist()).encode()).hexdigest() == LIST


def test_every_row_of_the_313_bins() -> None:
    """The same list as people read it: for each a the first and the last b, with none left out between them."""
    by_a = {a: ab_bins()[ab_bins()[:, 0] == a, 1].tolist() for a in range(-90, 110, 10)}
    assert {a: (b[0], b[-1]) for a, b in by_a.items()} == ROWS
    assert all(b == list(range(b[0], b[-1] + 10, 10)) for b in by_a.values())
    assert sum(map(len, by_a.values())) == Q


@pytest.mark.parametrize(("grid", "count"), [(5, 1083), (8, 460), (10, 313), (12, 228), (16, 143), (20, 101)])
def test_bins_are_inside_the_widened_hull(grid: int, count: int) -> None:
    """scikit-image's ab of the cube's edges, a square of side 2g around each point, Qhull's planes of all corners."""
    step, ends = np.linspace(0, 1, 257), np.array([0.0, 1.0])
    edges = [np.stack(np.meshgrid(*(step if k == axis else ends for k in range(3))), -1) for axis in range(3)]
    ab = color.rgb2lab(np.concatenate([edge.reshape(-1, 3) for edge in edges]))[:, 1:]
    squares = (ab[:, None] + np.array([(-grid, -grid), (-grid, grid), (grid, -grid), (grid, grid)])).reshape(-1, 2)
    planes = ConvexHull(squares).equations  # (m, 3): negative inside
    along = range(-200 // grid * grid, 201, grid)
    expected = [[a, b] for a in along for b in along if (planes @ (a, b, 1) < 0).all()]
    assert ab_bins(grid).tolist() == expected
    assert len(expected) == count


@pytest.mark.parametrize("grid", [8, 10, 20])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_code_equals_brute_force(grid: int, k: int) -> None:
    """Over all bins in float64, vertices of the gamut included: exactly k shares, of the nearest, that sum to one."""
    code, ab = Code(grid, k), torch.cat((gamut(1500), corners(grid)))
    ab = torch.cat((ab, lab.ab(torch.eye(3, dtype=torch.float64).view(1, 3, 1, 3))[0, :, 0].T))
    distance = torch.cdist(ab, torch.from_numpy(ab_bins(grid)).double(), compute_mode="donot_use_mm_for_euclid_dist")
    kept, where = distance.sort(1)
    expected = torch.zeros_like(distance).scatter_(1, where[:, :k], torch.exp(-kept[:, :k].square() / 50))
    index, share = code.encode(ab)
    result = torch.zeros_like(distance).scatter_(1, index, share)
    assert (result - expected / expected.sum(1, keepdim=True)).abs().max() < 1e-12
    assert ((result > 0).sum(1) == k).all()
    assert torch.equal(index[:, 0], where[:, 0])


def test_code_in_float32_is_that_of_float64() -> None:
    code, ab = Code(), gamut()
    dense = [torch.zeros(len(ab), Q).scatter_(1, i, s.float()) for i, s in (code.encode(ab), code.encode(ab.float()))]
    assert (dense[0] - dense[1]).abs().max() < 1e-5


def test_code_of_a_bin_centre_has_the_closed_form() -> None:
    """exp(-d^2 / 50) at d = 0 and at four neighbours with d = 10."""
    index, share = Code().encode(torch.tensor([[10.0, -20.0]], dtype=torch.float64))
    rest = math.exp(-2) / (1 + 4 * math.exp(-2))
    assert Code().centres[index[0, 0]].tolist() == [10, -20]
    assert share[0].tolist() == pytest.approx([1 / (1 + 4 * math.exp(-2))] + [rest] * 4, abs=1e-12)
    assert share[0, 0].item() == pytest.approx(0.648786, abs=1e-6)


def test_code_commutes_with_a_flip() -> None:
    """The code of a mirrored map is the mirrored code: the same bins, in the same order, with the same shares."""
    ab = lab.ab(noise(2, 3, 8, 8, dtype=torch.float64))
    codes = (Code().encode(maps.movedim(1, -1).reshape(-1, 2)) for maps in (ab, ab.flip(3)))
    for plain, mirrored in zip(*codes, strict=True):  # bins, then shares
        assert torch.equal(plain.view(2, 8, 8, 5).flip(2), mirrored.view(2, 8, 8, 5))


@pytest.mark.parametrize(
    ("k", "mean", "largest", "used"), [(1, 3.825, 7.071, 261), (5, 0.219, 0.71, 313), (10, 0.235, 0.42, 313)]
)
def test_the_mean_of_the_code_is_near_the_colour(k: int, mean: float, largest: float, used: int) -> None:
    """Error of sum_q Z_q c_q for uniform RGB, of which 52 of the 313 bins are never the nearest.

    Below 5 sqrt 2 for the nearest alone: it is half a diagonal of the grid away at most.
    """
    step = torch.arange(0, 256, 3, dtype=torch.float64) / 255
    cube = torch.stack(torch.meshgrid(step, step, step, indexing="ij")).flatten(1)
    ab, code = lab.ab(cube[None, :, None])[0, :, 0].T, Code(k=k)
    index, share = code.encode(ab)
    error = ((code.centres.double()[index] * share[..., None]).sum(1) - ab).norm(dim=1)
    assert error.mean().item() == pytest.approx(mean, abs=0.001)
    assert error.max().item() < largest
    assert index.unique().numel() == used


def test_annealed_mean() -> None:
    """softmax(log p / T) of the centres; the mean at T = 1 and the mode as T goes to 0."""
    code, logits = Code(), 4 * noise(6, Q, dtype=torch.float64)
    p = logits.softmax(1)
    sharp = p ** (1 / 0.38)
    centres = code.centres.double()
    assert torch.allclose(code.decode(logits, 0.38), (sharp / sharp.sum(1, keepdim=True)) @ centres, atol=1e-10)
    assert torch.allclose(code.decode(logits, 1.0), p @ centres, atol=1e-10)
    assert torch.allclose(code.decode(logits, 1e-6), centres[logits.argmax(1)], atol=1e-6)


# --- weights and loss -----------------------------------------------------------------------------------------------


def test_weights_average_to_one_and_are_finite_for_colours_never_seen() -> None:
    prior = noise(Q, dtype=torch.float64) * (torch.arange(Q) % 3 > 0)
    prior /= prior.sum()
    w = weights(prior, 0.5)
    assert w.isfinite().all()
    assert (prior * w).sum().item() == pytest.approx(1, abs=1e-12)
    ratio = (0.5 * prior[1] + 0.5 / Q) / (0.5 / Q)  # a colour never seen against one that was
    assert (w[0] / w[1]).item() == pytest.approx(ratio.item(), abs=1e-10)


def test_weights_are_one_without_rebalancing_or_for_a_uniform_prior() -> None:
    uniform = torch.full((Q,), 1 / Q, dtype=torch.float64)
    assert torch.allclose(weights(uniform, 0.5), torch.ones(Q, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(weights(noise(Q, dtype=torch.float64).softmax(0), 1.0), torch.ones_like(uniform), atol=1e-12)


def test_one_hot_cross_entropy_is_torchs() -> None:
    """k = 1 is equation 6 with the nearest bin."""
    logits, (index, share) = 3 * noise(2500, Q, dtype=torch.float64), Code(k=1).encode(gamut(2500))
    expected = torch.nn.functional.cross_entropy(logits, index[:, 0], reduction="none")
    assert torch.allclose(soft_cross_entropy(logits, index, share), expected, atol=1e-12)


def test_soft_cross_entropy_and_its_gradient() -> None:
    """Against torch's own, in float64, over more rows than fit in one piece, with a weight per row."""
    logits, (index, share) = (3 * noise(2500, Q, dtype=torch.float64)).requires_grad_(), Code().encode(gamut(2500))
    weight, target = (
        noise(2500, dtype=torch.float64),
        torch.zeros(2500, Q, dtype=torch.float64).scatter_(1, index, share),
    )
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    result = soft_cross_entropy(logits, index, share)
    assert torch.allclose(result, expected, atol=1e-12)
    slopes = [torch.autograd.grad((weight * loss).mean(), logits)[0] for loss in (result, expected)]
    assert torch.allclose(*slopes, atol=1e-14)


def test_soft_cross_entropy_survives_huge_logits_in_bfloat16() -> None:
    logits, (index, share) = torch.zeros(4, Q, dtype=torch.bfloat16), Code().encode(gamut(4).float())
    logits[:, 0], logits[:, 1] = 3e4, -3e4
    loss = soft_cross_entropy(logits.requires_grad_(), index, share)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx([3e4] * 4, rel=0.01)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_grey_is_an_image_whose_a_and_b_never_exceed_five() -> None:
    ab = torch.zeros(3, 2, 4, 4)
    ab[1, 0, 2, 2], ab[2, 1, 0, 0] = 5.0, -5.01
    assert coloured(ab).tolist() == [False, False, True]
