"""The estimate of `init` is kept for the run, as long as params.yaml is the one that was estimated."""

from pathlib import Path

import pytest

from pretextbench.project import layout
from pretextbench.project.progress import estimate, keep_estimate


def test_it_is_read_back_until_the_parameters_change(tmp_path: Path) -> None:
    params = tmp_path / layout.PARAMS
    params.write_text("pretrain: {images: 1024}\n")
    assert estimate(tmp_path) == {}
    keep_estimate(tmp_path, {"pretrain@simclr-0": 12.5, "pretrain-control@pixels-0": 0.0})
    assert estimate(tmp_path) == {"pretrain@simclr-0": 12.5, "pretrain-control@pixels-0": 0.0}
    params.write_text("pretrain: {images: 2048}\n")
    assert estimate(tmp_path) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"params": 1}', '{"params": "x", "seconds": {}}', "\xff"])
def test_a_damaged_file_is_no_estimate(content: str, tmp_path: Path) -> None:
    (tmp_path / layout.PARAMS).write_text("")
    (file := tmp_path / layout.estimate()).parent.mkdir(parents=True)
    file.write_text(content)
    assert estimate(tmp_path) == {}
