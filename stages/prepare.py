"""Stage `prepare`: a source of images -> data/prepared/images and, apart from them, data/prepared/labels."""

from pretextbench.data.prepare import prepare
from pretextbench.params import load
from stages import layout


def main() -> None:
    """Read params.yaml and write the prepared arrays."""
    card = prepare(load(layout.PARAMS).prepare, layout.IMAGES, layout.LABELS)
    sizes = ", ".join(f"{stop - start} {split}" for split, (start, stop) in card.splits.items())
    print(f"{card.source}: {sizes} images of {card.image_size} px; {card.refused} refused")
    for note in card.notes:
        print(f"note: {note}")
