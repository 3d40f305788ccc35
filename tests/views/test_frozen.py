"""The evaluation views: what is in them, that they are the same every time, and that only fitting ones are opened."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kornia
import numpy as np
import pytest
import torch

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.seed import Seed
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import Augment, Prepare
from pretextbench.project import layout
from pretextbench.views import make
from pretextbench.views.corrupt import CORRUPTIONS, corrupt, draw_noise
from pretextbench.views.frozen import Views
from pretextbench.views.make import make_views
from stages import views as stage

SIDE, IMAGES = 16, 12
PARAMS = Augment(view_images=IMAGES, seed=3)
FILES = ["card.json", "corrupted.npy", "pairs.npy", "sheet.png"]


def prepared(folder: Path, seed: int = 0) -> Prepared:
    sizes = {"train": 20, "val": 30, "test": 40}
    prepare(
        Prepare.model_validate({"image_size": SIDE, "seed": seed, "synthetic": sizes}),
        folder / "images",
        folder / "labels",
    )
    return Prepared(folder / "images", folder / "labels")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def made(data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Views nobody may change."""
    folder = tmp_path_factory.mktemp("made") / "views"
    make_views(data, PARAMS, folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """Views to damage."""
    return Path(shutil.copytree(made, tmp_path / "views"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# --- what is in them -----------------------------------------------------------------------------------------------


def test_corrupted_are_the_chosen_rows_corruption_by_corruption(made: Path, data: Prepared) -> None:
    """Against one image at a time: whatever is swapped on the way, in the chunks or in the axes, shows."""
    views = Views(made, data)
    assert views.rows.tolist() == [0, 3, 7, 10, 14, 17, 21, 24, 28, 31, 35, 39]
    assert views.names == tuple(CORRUPTIONS)
    assert views.severities == (1, 2, 3, 4, 5)
    assert views.corrupted.shape == (7, 5, IMAGES, SIDE, SIDE, 3)
    assert views.corrupted.dtype == np.uint8
    for i, row in enumerate(views.rows):
        clean = as_float(torch.from_numpy(data.images("test")[[row]]))
        noise = draw_noise(Seed(3), [row], SIDE)
        for n, name in enumerate(views.names):
            for s, severity in enumerate(views.severities):
                expected = (corrupt(clean, name, severity, noise)[0] * 255).round().permute(1, 2, 0)
                np.testing.assert_array_equal(views.corrupted[n, s, i], expected.byte().numpy(), f"{name} {severity}")


def test_pairs_are_two_draws_of_the_same_images(made: Path, data: Prepared) -> None:
    views = Views(made, data)
    assert (views.pairs.shape, views.pairs.dtype) == ((2, IMAGES, SIDE, SIDE, 3), np.uint8)
    clean = as_float(torch.from_numpy(data.images("val")[np.linspace(0, 29, IMAGES).astype(int)]))
    for view in range(2):
        torch.manual_seed(Seed(3).key("pairs", view, 0))
        (expected,) = Augmenter(make.PAIR_RECIPE, SIDE)(clean)
        np.testing.assert_array_equal(
            views.pairs[view], (expected * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        )
    assert all((a != b).mean() > 0.5 for a, b in zip(*views.pairs, strict=True))  # no image stayed as it was


def test_the_card_says_how_they_were_made(made: Path, data: Prepared) -> None:
    card = json.loads((made / "card.json").read_text())
    assert card["data_sha256"] == data.fingerprint
    assert card["strengths"]["noise"] == [0.04, 0.06, 0.08, 0.09, 0.1]
    assert card["versions"] == {"kornia": kornia.__version__, "torch": torch.__version__}
    assert [op["op"] for op in card["pair_recipe"]["views"][0]["ops"]] == [
        "random_resized_crop",
        "horizontal_flip",
        "color_jitter",
    ]
    assert sorted(content(made)) == FILES


def test_asked_for_more_than_there_are_all_are_taken(data: Prepared, tmp_path: Path) -> None:
    make_views(data, Augment(view_images=1000), tmp_path / "views")
    views = Views(tmp_path / "views", data)
    assert views.rows.tolist() == list(range(40))
    assert views.pairs.shape[1] == 30


# --- the same every time -------------------------------------------------------------------------------------------


def test_same_bytes_twice_whatever_the_threads_and_the_callers_draws_are_kept(
    made: Path, data: Prepared, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        make_views(data, PARAMS, tmp_path / "views")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert content(tmp_path / "views") == content(made)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_size_of_the_chunks_does_not_matter(
    made: Path, data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for the pairs: Kornia draws for a batch, and the chunks are a constant."""
    monkeypatch.setattr(make, "AREA", 5 * SIDE**2)
    make_views(data, PARAMS, tmp_path / "views")
    assert (tmp_path / "views/corrupted.npy").read_bytes() == (made / "corrupted.npy").read_bytes()
    assert Views(tmp_path / "views", data).pairs.shape == Views(made, data).pairs.shape


def test_another_seed_is_other_noise_and_other_pairs_only(made: Path, data: Prepared, tmp_path: Path) -> None:
    make_views(data, PARAMS.model_copy(update={"seed": 4}), tmp_path / "views")
    one, other = Views(made, data), Views(tmp_path / "views", data)
    changed = [name for i, name in enumerate(one.names) if not np.array_equal(one.corrupted[i], other.corrupted[i])]
    assert changed == ["noise"]
    assert not any(np.array_equal(a, b) for a, b in zip(one.pairs[0], other.pairs[0], strict=True))


def test_whole_or_nothing(copy: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(copy)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "sheet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_views(data, PARAMS.model_copy(update={"seed": 4}), copy)
    assert content(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["views"]


# --- opening them --------------------------------------------------------------------------------------------------


def test_opening_needs_neither_torch_nor_kornia() -> None:
    """The evaluate stage must start fast."""
    code = "import sys, pretextbench.views.frozen; print(sorted({'torch', 'kornia'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_arrays_are_memory_maps_that_cannot_be_written(made: Path, data: Prepared) -> None:
    for array in (Views(made, data).corrupted, Views(made, data).pairs):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_views_of_another_data_set_are_refused(made: Path, data: Prepared, tmp_path: Path) -> None:
    other = prepared(tmp_path, seed=1)
    with pytest.raises(UserError) as error:
        Views(made, other)
    says = rf"made of another data set .*{data.fingerprint[:12]}, this one is {other.fingerprint[:12]}.*dvc repro views"
    assert re.search(says, str(error.value))


def test_missing_views_say_which_stage_makes_them(data: Prepared, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no evaluation views at .*views \(card.json: No such file.*Run the views stage"
    ):
        Views(tmp_path / "views", data)


@pytest.mark.parametrize("name", ["corrupted.npy", "pairs.npy"])
def test_damaged_arrays_are_refused(copy: Path, data: Prepared, name: str) -> None:
    whole = (copy / name).read_bytes()
    for damaged, says in [(whole[:-1], "is damaged"), (b"no array", "is damaged"), (whole, None)]:
        (copy / name).write_bytes(damaged)
        if says:
            with pytest.raises(UserError, match=rf"{name} {says} .*Run the views stage"):
                Views(copy, data)
    np.save(copy / name, np.zeros((2, 3), np.uint8))
    with pytest.raises(UserError, match=rf"{name} and its card.json do not belong together"):
        Views(copy, data)
    (copy / name).unlink()
    with pytest.raises(UserError, match=rf"Cannot read .*{name}: No such file"):
        Views(copy, data)


def test_a_damaged_card_is_refused(copy: Path, data: Prepared) -> None:
    (copy / "card.json").write_text('{"rows": 3}')
    with pytest.raises(UserError, match=r"card.json is not a card that this version wrote .*Run the views stage"):
        Views(copy, data)


# --- the stage -----------------------------------------------------------------------------------------------------


def test_the_stage_makes_them_and_says_so_in_a_line(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path)
    (tmp_path / "params.yaml").write_text("augment: {view_images: 12, seed: 3}\n")
    for name, place in (("PARAMS", "params.yaml"), ("IMAGES", "images"), ("VIEWS", "views")):
        monkeypatch.setattr(layout, name, tmp_path / place)
    stage.main()
    says = "views: 12 test images, 7 corruptions of 5 severities; 12 pairs of validation images; 0 MB\n"
    assert capsys.readouterr().out == says
    assert len(Views(layout.VIEWS, data).rows) == 12
