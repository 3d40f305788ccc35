"""runs/source.json tells what the files of the sources are, and nothing of sources that are no folders."""

from pathlib import Path

import pytest

from pretextbench.command.labels import link
from pretextbench.errors import UserError
from pretextbench.params import Prepare, Transfer
from stages.inventory import _files


def test_files_are_told_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "0.png").write_bytes(name.encode())
    source = Prepare(source="folder", path="in")
    before = _files(source, "prepare")
    assert (before["files"], before["bytes"]) == (2, 6)
    assert _files(Transfer(source="folder", path="in"), "transfer") == before
    (tmp_path / "in" / "cat" / "0.png").write_bytes(b"dog")
    (tmp_path / "in" / "dog" / "0.png").write_bytes(b"cat")
    assert _files(source, "prepare")["sha256"] != before["sha256"]


@pytest.mark.parametrize("source", [Prepare(), Transfer(), Prepare(source="cifar10", path="in")])
def test_other_sources_have_no_files(source: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _files(source, "prepare") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_changed_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(b"x")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    link(tmp_path / "images", table, tmp_path / "data" / "labelled")
    source = Prepare(source="folder", path="data/labelled")
    assert _files(source, "prepare")["files"] == 4
    table.write_text("file,label\n0.png,b\n1.png,b\n2.png,a\n3.png,b\n")
    with pytest.raises(UserError, match="was changed after `init` had made data/labelled"):
        _files(source, "prepare")
