"""Neighbours by cosine: known answers, and what happens to the query itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from pretextbench.base.picture import grid
from pretextbench.embedding.extract import gather
from pretextbench.embedding.similar import Bank, cosine, lookup, nearest, sheet
from pretextbench.errors import UserError
from tests.embedding.test_gather import paint

VALUES = np.array([[1, 0], [10, 1], [0, 2], [-1, 0]], np.float32)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    for i in range(4):
        paint(tmp_path / "images" / f"{i}.png", (i * 60, 0, 0))
    return Bank([f"{i}.png" for i in range(4)], VALUES, gather(tmp_path / "images"))


def test_known_neighbours_and_the_query_is_none_of_them(bank: Bank) -> None:
    result = lookup(bank, "0.png", 2)
    assert result.names == ["1.png", "2.png"]
    assert result.similarity == pytest.approx([10 / 101**0.5, 0])
    assert lookup(bank, str(bank.album.root / "0.png"), 9).names == ["1.png", "2.png", "3.png"]


def test_equal_to_scikit_learn(bank: Bank) -> None:
    values = np.random.default_rng(0).standard_normal((200, 7)).astype(np.float32)
    whole = Bank([str(i) for i in range(200)], values, bank.album)
    oracle = NearestNeighbors(n_neighbors=5, metric="cosine").fit(values)
    distance, rows = oracle.kneighbors(values[3:4] + 0.1)
    result = nearest(whole, torch.from_numpy(values[3] + 0.1), "q", 5)
    assert result.names == [str(row) for row in rows[0]]
    assert result.similarity == pytest.approx(list(1 - distance[0]), abs=1e-5)


def test_equal_similarities_keep_the_order_and_zeros_are_like_nothing(bank: Bank) -> None:
    same = Bank(bank.names, np.ones((4, 2), np.float32), bank.album)
    assert lookup(same, "2.png", 3).names == ["0.png", "1.png", "3.png"]
    assert cosine(torch.zeros(2, 3), torch.ones(3)).tolist() == [0, 0]


def test_an_image_from_elsewhere_is_embedded(bank: Bank, tmp_path: Path) -> None:
    other = paint(tmp_path / "other.png", (1, 2, 3))
    with pytest.raises(UserError, match=r"other\.png is not among these features"):
        lookup(bank, str(other), 1)
    able = Bank(bank.names, bank.values, bank.album, lambda path: torch.tensor([0.0, 1.0]))
    assert lookup(able, str(other), 1).names == ["2.png"]
    with pytest.raises(UserError, match=r"QUERY: .*nowhere\.png is neither a file"):
        lookup(able, str(tmp_path / "nowhere.png"), 1)


def test_an_image_alone_has_no_neighbours(bank: Bank) -> None:
    with pytest.raises(UserError, match="no image to compare"):
        lookup(Bank(["0.png"], VALUES[:1], bank.album), "0.png", 3)


def test_the_sheet_shows_the_images_themselves(bank: Bank, tmp_path: Path) -> None:
    other = paint(tmp_path / "other.png", (0, 0, 240))
    able = Bank(bank.names, bank.values, bank.album, lambda path: torch.tensor([0.0, 1.0]))
    picture = sheet(able, [lookup(able, "0.png", 2), lookup(able, str(other), 3)])
    centre = (picture.images[:, :, :, 48, 48] * 255).round().tolist()
    red = [[0, 0, 0], [60, 0, 0], [120, 0, 0], [255, 255, 255]]
    assert centre[0] == red
    assert centre[1][0] == [0, 0, 240]
    assert picture.captions[0] == ("0.png", "1.00 1.png", "0.00 2.png", "")
    assert grid(picture).size[0] > 4 * 96


def test_a_sheet_of_other_images_is_refused(bank: Bank, tmp_path: Path) -> None:
    paint(tmp_path / "few" / "0.png", (1, 1, 1))
    few = Bank(bank.names, bank.values, gather(tmp_path / "few"))
    with pytest.raises(UserError, match=r"holds no 1\.png: give the images that the features are of"):
        sheet(few, [lookup(few, "0.png", 1)])
