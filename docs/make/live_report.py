"""The report that the site shows: `uv run python -m docs.make.live_report [reports/report.html]`.

It is the report of the default comparison (`uv run dvc repro`) with its large pictures compressed, because the site's
copy is kept in git. Words, tables and figures are the same.
"""

import base64
import io
import re
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
SOURCE, TARGET = ROOT / "reports/report.html", ROOT / "docs/live/report.html"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
LARGE = 20_000  # characters: smaller pictures are kept as they are
QUALITY = 65  # of WebP
NO_ICON = '<link rel="icon" href="data:,">'  # or a browser asks the server for one


def compressed(picture: re.Match[str]) -> str:
    """The picture as WebP, if it is large."""
    if len(picture[1]) < LARGE:
        return picture[0]
    stream = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture[1]))).convert("RGB").save(stream, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def main(source: Path = SOURCE) -> None:
    """Write docs/live/report.html."""
    page = PICTURE.sub(compressed, source.read_text(encoding="utf-8")).replace("<head>", f"<head>{NO_ICON}", 1)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(page, encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes, from {source.stat().st_size:,}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
