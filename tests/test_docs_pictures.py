"""The pictures of the docs: each method has one, and the live report keeps its words when its pictures shrink."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.make import live_report

ROOT = Path(__file__).parents[1]
METHODS = sorted(file.parent.name for file in (ROOT / "plugins").glob("*/pyproject.toml"))


@pytest.mark.parametrize("method", METHODS)
def test_the_gallery_shows_the_method(method: str) -> None:
    shown = re.findall(r"\]\(gallery/([\w-]+)\.png\)", (ROOT / "docs/gallery.md").read_text())
    assert shown.count(method) == 1
    assert (ROOT / f"docs/gallery/{method}.png").stat().st_size < 100_000


def page(side: int) -> str:
    """A report with a noisy picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    picture = base64.b64encode(stream.getvalue()).decode()
    return f'<head></head><p>94.8 %</p><img src="data:image/png;base64,{picture}">'


@pytest.mark.parametrize(("side", "kind"), [(16, "png"), (160, "webp")])
def test_large_pictures_of_the_report_shrink_and_words_stay(
    side: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_report, "ROOT", tmp_path)
    monkeypatch.setattr(live_report, "TARGET", tmp_path / "live/report.html")
    source = tmp_path / "report.html"
    source.write_text(page(side))
    live_report.main(source)
    made = (tmp_path / "live/report.html").read_text()
    head, found, picture = re.fullmatch(r'(.*)<img src="data:image/(\w+);base64,(.*)">', made).groups()  # type: ignore[union-attr]
    assert head == f"<head>{live_report.NO_ICON}</head><p>94.8 %</p>"
    assert found == kind
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (side, side)
    assert (len(made) < len(source.read_text()) / 2) == (kind == "webp")


def test_the_committed_report_is_small_and_was_shrunk() -> None:
    text = (ROOT / "docs/live/report.html").read_text()
    assert len(text) < 1_500_000
    assert live_report.NO_ICON in text
