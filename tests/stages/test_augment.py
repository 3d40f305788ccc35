"""Stage `augment`: a method that cannot work with the prepared images is refused before it measures anything."""

from pathlib import Path

import pytest

from pretextbench import registry
from pretextbench.errors import UserError
from pretextbench.project import layout
from stages import augment
from stages.arguments import Contestant
from tests.leaks import parts, written


def test_grey_images_are_refused_before_the_method_sees_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = {
        split: images.mean(3, keepdims=True).round().astype("uint8").repeat(3, 3) for split, images in parts().items()
    }
    written(tmp_path / "images", grey)
    method = registry.load("colorization")
    chosen = Contestant(registry.find("colorization"), "0", method, method.Params())
    monkeypatch.setattr(layout, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(augment, "contestant", lambda name: chosen)
    monkeypatch.setattr(augment, "whole_folder", None)
    monkeypatch.setattr("sys.argv", ["augment", "colorization"])
    with pytest.raises(UserError, match="'colorization' needs images in colour, and all training images are grey"):
        augment.main()
