"""Pictures of what each method does, for docs/gallery.md: `uv run python -m docs.make.gallery [METHOD ...]`.

Each method is trained on a few thousand of the generated images, because some pictures show its answers.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from pretextbench import registry
from pretextbench.base.picture import png
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.methods.derived import derive
from pretextbench.params import Augment, EncoderParams, Prepare, Pretrain, Synthetic
from pretextbench.train.budget import Job
from pretextbench.train.history import Diagnosis, diagnose
from pretextbench.train.loop import Observer, Training
from pretextbench.train.pretrain import pretrain

PICTURES = Path(__file__).parents[1] / "gallery"
CONTROLS = {"pixels", "random", "supervised", "untouched"}
ROWS, COLOURS = 3, 128  # images in a picture, colours of its palette
PAIRS = 8  # images whose two views each are compared in a matrix
SAME = "two views"  # this picture is the same for many methods: one of them shows it
SHOWS_VIEWS = "simclr"
IMAGES = 8_000  # seen by each method
TOKENS = EncoderParams(name="vit-tiny", depth=2, patch=4)  # for methods that need a vision transformer


class Painter(Observer):
    """Draws the pictures of a trained method, with its heads, before they are forgotten."""

    def __init__(self, data: Prepared, target: Path) -> None:
        self.data, self.target = data, target

    def end(self, training: Training, diagnosis: Diagnosis) -> None:
        """Write the pictures of a few validation images, and the matrices over some more."""
        few, more = (diagnose(training, self.data, images, images).pictures for images in (ROWS, PAIRS))
        pictures = [picture for picture in few if len(picture.images) == ROWS]
        if self.target.stem != SHOWS_VIEWS:
            pictures = [picture for picture in pictures if picture.title != SAME]
        matrices = [picture for picture in more if len(picture.images) == 1]
        sheet = Image.open(io.BytesIO(png([*pictures, *matrices])))
        sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(self.target, optimize=True)


def job(name: str, data: Prepared) -> Job:
    """The training of a method with its own defaults."""
    plugin, method = registry.find(name), registry.load(name)
    own = method.Params()
    encoder = EncoderParams() if method.requires.encoder.__name__ == "Encoder" else TOKENS
    derived = derive(method, own, data, Augment())
    recipe = method.recipe(own, data.image_size)
    budget = Pretrain(images=IMAGES, batch_size=64, snapshots=())
    return Job(plugin, "gallery", method, own, encoder, budget, recipe, derived, seed=0, row="")


def main(names: list[str]) -> None:
    """Train and draw the methods named, or all that are installed."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(Prepare(synthetic=Synthetic(train=4000, val=100, test=20)), place / "images", place / "labels")
        data = Prepared(place / "images")
        for name in names or sorted(set(registry.available()) - CONTROLS):
            target = PICTURES / f"{name}.png"
            pretrain(job(name, data), data, place / name, place / "scratch", False, Painter(data, target))
            print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
