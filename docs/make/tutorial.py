"""The picture of the tutorial's photographs, docs/tutorial/photos.jpg: `uv run python -m docs.make.tutorial photos`."""

import sys
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).parents[1] / "tutorial/photos.jpg"
SPLITS = {"train": 5, "val": 2, "test": 3}  # photographs of each class
SIDE, GAP, MARGIN = 64, 2, 16  # pixels; the margin is between splits


def main(folder: Path) -> None:
    """Draw a row per class: photographs of train, of val and of test, evenly spaced."""
    names = sorted(place.name for place in (folder / "train").iterdir())
    width = sum(SPLITS.values()) * (SIDE + GAP) + (len(SPLITS) - 1) * MARGIN
    sheet = Image.new("RGB", (width, len(names) * (SIDE + GAP)), "white")
    for row, name in enumerate(names):
        x = 0
        for split, count in SPLITS.items():
            files = sorted((folder / split / name).iterdir())
            for file in files[:: len(files) // count][:count]:
                sheet.paste(Image.open(file), (x, row * (SIDE + GAP)))
                x += SIDE + GAP
            x += MARGIN
    sheet.save(TARGET, quality=75, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
