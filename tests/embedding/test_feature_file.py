"""Features in a file: what was added is read again, whole or not at all."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pretextbench.embedding import feature_file
from pretextbench.errors import UserError

ABOUT = {"method": "simclr", "seed": 0}
SUFFIXES = [".parquet", ".npy"]


def write(target: Path, refused: list[tuple[str, str]] | None = None) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    with feature_file.writing(target, ABOUT, refused or []) as writer:
        writer.add(["a", "b", "c"], values[:3])
        writer.add(["d", "é \U0001f600"], values[3:])
    return values


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    values = write(tmp_path / f"f{suffix}")
    result = feature_file.read(tmp_path / f"f{suffix}")
    assert result.names == ["a", "b", "c", "d", "é \U0001f600"]
    np.testing.assert_array_equal(result.values, values)
    assert result.values.dtype == np.float32
    assert result.about == ABOUT


def test_the_files_are_plain_parquet_and_plain_numpy(tmp_path: Path) -> None:
    import pandas as pd

    values = write(tmp_path / "f.parquet")
    frame = pd.read_parquet(tmp_path / "f.parquet")
    assert list(frame.columns) == ["file", "features"]
    np.testing.assert_array_equal(np.stack(list(frame.features)), values)
    write(tmp_path / "f.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_refused_files_are_listed_and_an_old_list_goes(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"f{suffix}", [("bad,\udcff.png", "empty")])
    with (tmp_path / "f.refused.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["file", "reason"], ["bad,\\udcff.png", "empty"]]
    write(tmp_path / f"f{suffix}")
    assert not (tmp_path / "f.refused.csv").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("end", [KeyboardInterrupt, UserError, OSError(28, "No space left on device")])
def test_a_write_that_is_broken_off_leaves_what_was_there(tmp_path: Path, suffix: str, end: BaseException) -> None:
    target = tmp_path / f"f{suffix}"
    write(target)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken() -> None:
        with feature_file.writing(target, {"other": 1}, []) as writer:
            writer.add(["x"], np.zeros((1, 3), np.float32))
            raise end

    with pytest.raises((KeyboardInterrupt, UserError)):
        broken()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_names_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in '\.csv'\. Allowed: \.parquet, \.npy"):
        feature_file.check(tmp_path / "f.csv")
    (tmp_path / "f.npy").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        feature_file.check(tmp_path / "f.npy")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow.*uv sync --extra export"):
        feature_file.check(tmp_path / "f.parquet")
    feature_file.check(tmp_path / "f.npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [None, b"", b"text", "an array of other things"])
def test_what_holds_no_features_is_told(tmp_path: Path, suffix: str, content: bytes | str | None) -> None:
    target = tmp_path / f"f{suffix}"
    if isinstance(content, str):
        write(target)
        np.save(target.with_suffix(".npy"), np.array(["text"]))
        target.with_suffix(".npy").replace(target)
    elif content is not None:
        target.write_bytes(content)
    with pytest.raises(UserError, match="holds no features that can be read"):
        feature_file.read(target)


def test_names_of_another_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f.npy")
    (tmp_path / "f.files.txt").write_text("a\n")
    with pytest.raises(UserError, match="for 1 names"):
        feature_file.read(tmp_path / "f.npy")
