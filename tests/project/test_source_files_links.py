"""Links made from a table of labels: the table and the images behind them are watched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pretextbench.command.labels import link
from pretextbench.errors import UserError
from pretextbench.project.source_files import check_links


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """Made by `init` from images/ and labels.csv."""
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4)))
    link(tmp_path / "images", tmp_path / "labels.csv", tmp_path / "labelled")
    check_links(tmp_path / "labelled")
    return tmp_path / "labelled"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: (f / "labels.csv").write_text("file,label\n0.png,b\n"),
            r"^the table .* was changed after",
        ),
        (lambda f: (f / "images" / "4.png").touch(), r"^images were added to .*images or removed after `init`"),
        (lambda f: (f / "images" / "3.png").unlink(), r"^images were added to .*images or removed after `init`"),
    ],
)
def test_a_change_asks_for_init(links: Path, change: Callable[[Path], object], message: str) -> None:
    change(links.parent)
    with pytest.raises(UserError, match=message) as caught:
        check_links(links)
    assert f"--images {links.parent / 'images'} --labels {links.parent / 'labels.csv'} --force" in str(caught.value)


def test_init_again_is_the_remedy(links: Path) -> None:
    (links.parent / "images" / "4.png").touch()
    link(links.parent / "images", links.parent / "labels.csv", links)
    check_links(links)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "labels.csv").touch(),
        lambda f: (f / "labels.csv").unlink(),
        lambda f: (f / "labelled.json").unlink(),
        lambda f: (f / "labelled.json").write_text("[1]"),
        lambda f: (f / "labelled.json").write_text("{}"),
        lambda f: (f / "images" / "notes.txt").touch(),
    ],
)
def test_what_is_no_change_says_nothing(links: Path, change: Callable[[Path], object]) -> None:
    change(links.parent)
    check_links(links)
