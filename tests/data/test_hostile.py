"""Hostile files in a folder: each becomes an image with the right pixels, or is refused by name, or counted as ignored.

Never a traceback, a hang, a line on the terminal, or a file that nobody accounts for.
"""

import csv
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.base.names import printable
from pretextbench.data import decode as module
from pretextbench.data import source
from pretextbench.data.folder import listing
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.data.source import Listing
from pretextbench.params import Prepare
from tests.data.hostile import PICTURE, SIDE, Hostile, contents, encoded
from tests.data.oddities import oddities

FILES = [*contents(), *oddities()]


def plain(folder: Path, count: int) -> None:
    """Ordinary images, each another."""
    for i in range(count):
        image = np.full((SIDE, SIDE, 3), i, np.uint8)
        (folder / f"plain-{i}.png").write_bytes(encoded(image, "png"))


def look(root: Path) -> Listing:
    return listing(root, SIDE, "crop")


def check(file: Hostile, result: np.ndarray | str) -> None:
    """Whether it became what it was to become."""
    if isinstance(result, str):
        assert file.fate in ("refused", "either"), result
        assert file.reason in result
        assert len(result) > 8
        assert result.isprintable()
        return
    assert file.fate in ("image", "either")
    assert file.pixels is not None
    assert np.abs(result.astype(int) - file.pixels).max() <= file.tolerance


def test_there_are_enough() -> None:
    assert len(FILES) >= 100
    assert len({file.name for file in FILES}) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: repr(file.name)[:60])
def test_alone(tmp_path: Path, file: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "root" / name).mkdir(parents=True)
        plain(tmp_path / "root" / name, 1)
    file.put(tmp_path / "root" / "a")
    actual = look(tmp_path / "root")
    numbers = [i for i, name in enumerate(actual.names) if "plain" not in name and "cycle-2" not in name]
    assert actual.ignored == (file.fate == "ignored")
    assert [actual.names[i] for i in numbers] == ([] if file.fate == "ignored" else [f"a/{file.name}"])
    for result in actual.read(numbers):
        check(file, result)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.rglob("evil*"))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, in five classes, beside ordinary images."""
    root = tmp_path_factory.mktemp("crowd") / "root"
    for i, file in enumerate(FILES):
        folder = root / f"class{i % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        file.put(folder)
    plain(root / "class0", 40)
    return root


def on_disk(root: Path) -> list[str]:
    """Every entry that is no folder."""
    return [os.path.relpath(Path(here) / name, root) for here, _, names in os.walk(root) for name in names]


def test_all_together(crowd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    params = Prepare(source="folder", path=str(crowd), image_size=SIDE, max_refused=1)
    card = prepare(params, tmp_path / "images", tmp_path / "labels")
    assert capfd.readouterr() == ("", "")
    with (tmp_path / "images" / "refused.csv").open(newline="", encoding="utf-8") as stream:
        refused = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
    kept = (tmp_path / "labels" / "files.txt").read_text(encoding="utf-8").splitlines()
    rows = max(stop for _, stop in card.splits.values())
    assert len(kept) == rows == len(set(kept))
    assert rows + card.refused + card.ignored == len(on_disk(crowd))
    assert card.refused == len(refused) > 50
    assert card.ignored == sum(file.fate == "ignored" for file in FILES)
    data = Prepared(tmp_path / "images", tmp_path / "labels")
    pixels = dict(zip(kept, np.concatenate([data.images(split) for split in ("train", "val", "test")]), strict=True))
    for i, file in enumerate(FILES):
        if file.fate != "ignored":
            name = f"class{i % 5}/{file.name}"
            check(file, pixels[printable(name)] if printable(name) in pixels else refused[name])


def test_names_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["cat\n- dog", "esc\x1b[2J", "not-utf8-\udcff", "<b>", "$(touch evil)", "\U0001f469\u200d\U0001f52c"]
    for name in names:
        (tmp_path / "root" / name).mkdir(parents=True)
        plain(tmp_path / "root" / name, 5)
    params = Prepare(source="folder", path=str(tmp_path / "root"), image_size=SIDE)
    card = prepare(params, tmp_path / "images", tmp_path / "labels")
    classes = json.loads((tmp_path / "labels" / "classes.json").read_text())
    assert set(classes) == {r"cat\n- dog", r"esc\x1b[2J", r"not-utf8-\xff", *names[3:]}
    for text in (*card.notes, *classes):
        print(text.encode().decode())  # text, which a report can be written of
        assert "\n" not in text
        assert "\x1b" not in text


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b/x.jpg", "b/empty.jpg", "c"):
        (tmp_path / name).mkdir(parents=True)
        if "empty" not in name:
            plain(tmp_path / name, 1)
    assert look(tmp_path).names == ["a/plain-0.png", "b/x.jpg/plain-0.png", "c/plain-0.png"]


def test_folders_nested_deeper_than_python_calls(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("root", *"d" * 150)
    os.makedirs(deep)
    plain(deep, 2)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert len(look(tmp_path / "root").names) == 2
    finally:
        sys.setrecursionlimit(before)


def test_folders_that_all_link_to_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve of them have a billion paths."""
    monkeypatch.setattr(source, "MAX_VISITS", 5)
    folders = [tmp_path / f"{i:02}" for i in range(12)]
    for folder in folders:
        folder.mkdir()
        plain(folder, 1)
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    actual = look(tmp_path)
    assert len(folders) <= len(actual.names) <= 5 * len(folders)
    assert all("links lead to this folder in more than 5 ways" in reason for _, reason in actual.refused)
    assert 0 < len(actual.refused) <= len(folders)


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests are often run by root, who may read everything: be somebody else, in a folder that is reached already."""
    monkeypatch.chdir(tmp_path)
    before = os.geteuid()
    yield
    if before == 0:
        os.seteuid(0)


def test_without_permission(tmp_path: Path, nobody: None) -> None:
    for name in ("a", "b", "closed", "unsearchable"):
        (tmp_path / name).mkdir()
        plain(tmp_path / name, 1)
    tmp_path.chmod(0o755)
    (tmp_path / "a" / "plain-0.png").chmod(0)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "unsearchable").chmod(0o444)
    if os.geteuid() == 0:
        os.seteuid(65534)
    actual = look(Path())
    results = dict(zip(actual.names, actual.read(range(len(actual.names))), strict=True))
    assert actual.refused == [("closed", "the folder cannot be listed: Permission denied")]
    assert results["a/plain-0.png"] == "cannot be read: Permission denied"
    assert results["unsearchable/plain-0.png"] == "cannot be read: Permission denied"
    assert isinstance(results["b/plain-0.png"], np.ndarray)


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """In a process that may have 1 GB of addresses, of which Python and NumPy take a part."""
    bombs = [file.put(tmp_path) for file in FILES if file.name.startswith("bomb")]
    code = """if True:
        import resource, sys
        from pathlib import Path
        from pretextbench.data.decode import decode_all
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        for path, result in zip(sys.argv[1:], decode_all(list(map(Path, sys.argv[1:])), 16, "crop")):
            print(Path(path).name, result if isinstance(result, str) else "image")
    """
    arguments = [sys.executable, "-c", code, *map(str, bombs)]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    lines_out = done.stdout.splitlines()
    assert len(lines_out) == len(bombs)
    assert not [line for line in lines_out if re.search("memory|MemoryError", line, re.IGNORECASE)], lines_out


def test_large_images_are_held_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, most, real = [0], [0], module.rgb

    def counting(image: Image.Image, *rest: object) -> Image.Image:
        held[0] += 1
        most[0] = max(most[0], held[0])
        time.sleep(0.005)  # for the others to come in
        result = real(image, *rest)
        held[0] -= 1
        return result

    monkeypatch.setattr(module, "rgb", counting)
    monkeypatch.setattr(module, "LARGE", 100)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    image = Image.fromarray(PICTURE).resize((200, 200))
    for i in range(16):
        image.save(tmp_path / f"{i}.bmp")
    results = list(module.decode_all([tmp_path / f"{i}.bmp" for i in range(16)], SIDE, "crop"))
    assert all(isinstance(result, np.ndarray) for result in results)
    assert most == [1]
