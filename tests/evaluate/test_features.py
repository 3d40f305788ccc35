"""Features: the right mode, the right pixels, the right pooling."""

import numpy as np
import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.evaluate.features import extract, pool
from tests.evaluate.fakes import FakeData, TinyEncoder

CPU = torch.device("cpu")


def test_a_network_in_training_mode_is_probed_in_evaluation_mode_and_gets_its_modes_back():
    encoder, images = TinyEncoder(), FakeData().images("train")
    expected = extract(encoder.eval(), images, CPU)
    encoder.train()
    encoder.norm.eval()  # a part that its owner froze
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    result = extract(encoder, images, CPU)
    for stage, values in expected.items():
        torch.testing.assert_close(result[stage], values, rtol=0, atol=0)
        assert not result[stage].requires_grad
    assert encoder.training
    assert encoder.drop.training
    assert not encoder.norm.training
    for name, buffer in encoder.named_buffers():
        assert torch.equal(buffer, before[name]), f"{name} moved: the statistics were updated by the evaluation"


def test_modes_come_back_after_an_error():
    encoder = TinyEncoder().train()
    encoder.b = torch.nn.Identity()  # the next layer cannot take its output
    with pytest.raises(RuntimeError):
        extract(encoder, FakeData().images("val"), CPU)
    assert encoder.drop.training
    assert torch.is_grad_enabled()


def test_features_are_those_of_the_images_one_by_one():
    encoder, images = TinyEncoder().eval(), FakeData().images("val")[:7]
    result = extract(encoder, images, CPU, batch_size=3)
    assert list(result) == ["one", "two", "three"]
    for i, image in enumerate(images):
        x = torch.tensor(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.no_grad():
            last = encoder(x)[0]
        torch.testing.assert_close(result["three"][i], last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "side", "length", "grid"),
    [(16, 32, 128, 2), (32, 16, 128, 2), (64, 8, 128, 1), (128, 4, 128, 1), (4, 2, 128, 2), (200, 8, 128, 1)],
)
def test_the_grid_is_the_largest_that_keeps_the_vector_short(channels, side, length, grid):
    x = torch.randn(2, channels, side, side)
    result = pool(x, length)
    assert result.shape == (2, channels * grid**2)
    blocks = x.unfold(2, side // grid, side // grid).unfold(3, side // grid, side // grid).mean((4, 5))
    torch.testing.assert_close(result, blocks.flatten(1))


def test_features_that_are_not_finite_name_their_stage():
    encoder = TinyEncoder()
    encoder.b.weight.data[0] = torch.nan
    with pytest.raises(UserError, match=r"stage 'two' are not finite for 60 of 60 images.*learning rate"):
        extract(encoder, FakeData().images("val"), CPU)


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match="no images"):
        extract(TinyEncoder(), FakeData().images("val")[:0], CPU)
