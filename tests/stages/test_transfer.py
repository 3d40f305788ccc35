"""Stage `transfer`: the second data set, brought to the size of the first; and what the inventory notices of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.project import layout
from stages import evaluate, inventory, transfer

FIRST = "prepare: {image_size: 16, synthetic: {train: 20, val: 10, test: 10}}\n"


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40 images in two classes, beside an empty project that is the working directory."""
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "images" / ("left", "right")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "images"


def test_the_second_data_set_has_the_size_of_the_first(second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout.PARAMS.write_text(FIRST + f"transfer: {{source: folder, path: {second}, max_images: 30}}\n")
    transfer.main()
    data = Prepared(layout.TRANSFER / "images", layout.TRANSFER / "labels")
    assert data.image_size == 16
    assert data.classes == ["left", "right"]
    assert sum(len(data.images(split)) for split in data.splits) == 30
    assert "folder:" in capsys.readouterr().out
    assert evaluate.transfer() is not None


def test_without_one_there_is_a_note_and_nothing_to_evaluate(second: Path) -> None:
    layout.PARAMS.write_text(FIRST + f"transfer: {{source: folder, path: {second}}}\n")
    transfer.main()
    layout.PARAMS.write_text(FIRST)
    transfer.main()
    assert [path.name for path in layout.TRANSFER.iterdir()] == ["none.txt"], "what was there before is gone"
    assert evaluate.transfer() is None


def test_a_folder_that_is_not_there_is_refused_and_leaves_nothing(second: Path) -> None:
    layout.PARAMS.write_text(FIRST + f"transfer: {{source: folder, path: {second / 'none'}}}\n")
    with pytest.raises(UserError, match="none"):
        transfer.main()
    assert not layout.TRANSFER.exists()
    assert not list(Path("data").glob(".*"))
    layout.PARAMS.write_text(FIRST + "transfer: {source: folder}\n")
    with pytest.raises(UserError, match="needs `path`"):
        transfer.main()


def test_the_inventory_notices_a_new_file_of_the_second_data_set(second: Path) -> None:
    small = "pretrain: {batch_size: 10}\ncompare: {methods: []}\n"  # the first has few images
    layout.PARAMS.write_text(f"{FIRST}transfer: {{source: folder, path: {second}}}\n{small}")
    inventory.main()
    before = json.loads(layout.SOURCE.read_text())
    (second / "left/0.png").unlink()
    inventory.main()
    after = json.loads(layout.SOURCE.read_text())
    assert before["files"] == after["files"] == {}, "the first is drawn, not read"
    assert before["transfer"]["path"] == str(second)
    assert (before["transfer"]["files"], after["transfer"]["files"]) == (40, 39)


def test_the_labels_of_the_first_data_set_are_not_those_of_the_second(second: Path) -> None:
    first = f"source: folder, path: {second}, labels: labels.csv, task: number, group: film, image_size: 16"
    layout.PARAMS.write_text(f"prepare: {{{first}}}\ntransfer: {{source: folder, path: {second}}}\n")
    transfer.main()
    assert Prepared(layout.TRANSFER / "images", layout.TRANSFER / "labels").classes == ["left", "right"]
