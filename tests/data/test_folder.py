"""Anyone's folder: which layout means which splits and labels, and what is said about the others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.folder import listing
from pretextbench.data.source import Listing
from pretextbench.errors import UserError


def lay(root: Path, *names: str) -> Path:
    """Files below root; images where the suffix says so."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".png", ".jpg"):
            Image.new("RGB", (8, 8), (i, i, i)).save(path, format="PNG")
        else:
            path.write_text("text")
    return root


def understood(result: Listing) -> dict[str, tuple[str, str]]:
    """name -> (split, class)."""
    names = [result.classes[k] if k >= 0 else "-" for k in result.labels]
    return {name: (s, c) for name, s, c in zip(result.names, result.splits, names, strict=True)}


def look(root: Path) -> Listing:
    return listing(root, 8, "crop")


def test_class_folders(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "dog/1.png", "cat/1.png", "cat/2.png", "cat/deeper/still/3.png"))
    assert result.classes == ["cat", "dog"]
    assert understood(result) == {
        "cat/1.png": ("train", "cat"),
        "cat/2.png": ("train", "cat"),
        "cat/deeper/still/3.png": ("train", "cat"),
        "dog/1.png": ("train", "dog"),
    }
    assert "2 classes, from the names of the folders: cat, dog." in result.notes


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Train", "valid"), ("training", "validation")])
def test_splits_with_classes(tmp_path: Path, train: str, val: str) -> None:
    result = look(lay(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{val}/a/2.png", "test/b/3.png"))
    assert sorted(understood(result).values()) == [("test", "b"), ("train", "a"), ("train", "b"), ("val", "a")]


def test_splits_without_classes(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "train/1.png", "train/2.png", "test/3.png"))
    assert sorted(understood(result).values()) == [("test", "-"), ("train", "-"), ("train", "-")]
    assert result.classes == []


def test_unlabelled_images_join_train(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "train/a/1.png", "train/b/1.png", "unlabeled/x/1.png", "unlabelled/2.png"))
    assert understood(result)["unlabeled/x/1.png"] == ("train", "-")
    assert understood(result)["unlabelled/2.png"] == ("train", "-")
    assert result.classes == ["a", "b"]


@pytest.mark.parametrize(
    "names",
    [
        ("1.png", "2.png"),
        ("1.png", "more/2.png"),
        ("2021/may/1.png", "2022/june/2.png"),
        ("2021/1.png", "2022/june/2.png"),  # one of them holds none directly: not classes
        ("all/of/them/1.png", "all/of/them/2.png"),
    ],
)
def test_flat_and_nested_folders_have_no_labels(tmp_path: Path, names: tuple[str, ...]) -> None:
    result = look(lay(tmp_path, *names))
    assert set(understood(result).values()) == {("train", "-")}
    assert any(note.startswith("No labels") for note in result.notes)


def test_partly_labelled(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "a/1.png", "b/1.png", "loose.png"))
    assert understood(result)["loose.png"] == ("train", "-")
    assert result.classes == ["a", "b"]


def test_what_is_no_image_is_counted(tmp_path: Path) -> None:
    root = lay(
        tmp_path, "a/1.png", "b/1.png", ".hidden.png", ".git/x.png", "__MACOSX/1.png", "a/Thumbs.db", "notes.txt"
    )
    result = look(lay(root, "a/README", "b/2.heic", "b/3.heic"))
    assert len(result.names) == 2
    assert result.ignored == 8
    assert "Passed over: 4 hidden, 2 .heic, 1 no suffix, 1 .txt." in result.notes


def test_images_outside_the_splits_are_counted(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "train/a/1.png", "train/b/1.png", "extra/1.png", "2.png"))
    assert len(result.names) == 2
    assert result.ignored == 2
    assert result.unused == 2
    text = "2 images lie outside train/, val/ and test/ and were passed over: the folder itself 1, extra/ 1."
    assert result.warnings == (text,)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = lay(tmp_path / "root", "a/1.png", "b/1.png")
    (root / "a" / "again").symlink_to(root)
    (root / "c").symlink_to(lay(tmp_path / "elsewhere", "1.png"))
    (root / "b" / "self").symlink_to("self")
    assert look(root).names == ["a/1.png", "b/1.png", "c/1.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, real = lay(tmp_path, "a/1.png", "b/1.png", "closed/1.png"), Path.iterdir

    def closed(path: Path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", closed)  # root, who often runs tests, may list anything
    assert look(root).refused == [("closed", "the folder cannot be listed: Permission denied")]


def test_reads_in_the_order_asked(tmp_path: Path) -> None:
    result = look(lay(tmp_path, *(f"{i}.png" for i in range(6))))
    images = list(result.read([4, 0, 2]))
    assert [int(image[0, 0, 0]) for image in images if not isinstance(image, str)] == [4, 0, 2]


def test_names_are_in_the_same_order_everywhere(tmp_path: Path) -> None:
    result = look(lay(tmp_path, "b/2.png", "a/10.png", "a/9.png", "b/1.png"))
    assert result.names == ["a/10.png", "a/9.png", "b/1.png", "b/2.png"]
    np.testing.assert_array_equal(result.labels, [0, 0, 1, 1])


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prepare.path: .*nowhere does not exist. Give the folder"):
        look(tmp_path / "nowhere")


def test_a_file(tmp_path: Path) -> None:
    lay(tmp_path, "images.zip")
    with pytest.raises(UserError, match=r"images.zip is a file. Give the folder .*unpack archives first"):
        look(tmp_path / "images.zip")
    lay(tmp_path, "more.tar.gz")
    with pytest.raises(
        UserError, match=r": `mkdir (.*)/more && tar -xf \1/more.tar.gz -C \1/more`, and give \1/more\."
    ):
        look(tmp_path / "more.tar.gz")


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no images \(found: nothing\). Images are files ending in .bmp"):
        look(tmp_path)


def test_no_image_among_the_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no images \(found: 2 .heic, 1 .txt\)"):
        look(lay(tmp_path, "a/1.heic", "a/2.heic", "b.txt"))


@pytest.mark.parametrize("names", [("cat/1.png", "cat/2.png"), ("train/cat/1.png", "test/cat/2.png")])
def test_one_class(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"has only one class, 'cat'.* Add a second class, or, .*without labels"):
        look(lay(tmp_path, *names))


def test_test_without_train(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"has images in test/ and val/ but none in train/. Add a train/ folder, or rename"
    ):
        look(lay(tmp_path, "test/a/1.png", "val/a/1.png", "other/1.png"))
