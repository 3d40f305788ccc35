"""Stage `reference` and the control `untouched`: an encoder as it is, with the weights that it was given."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.params import Params, Prepare
from pretextbench.project.inventory import check_references
from pretextbench.train import encoder_folder
from pretextbench.train.pretrain import pretrain
from stages import reference

SIDE = 16


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights of a resnet10, drawn with a seed that nothing else uses."""
    torch.manual_seed(17)
    params = Params.model_validate({"encoder": {"width": 4}}).encoder
    save_file(build(params, SIDE, (0.5,) * 3, (0.25,) * 3).state_dict(), tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def parameters(weights: Path, **encoder: object) -> Params:
    """Parameters with the reference `given`."""
    given = {"width": 4, "weights": str(weights), **encoder}
    prepare = {"source": "synthetic", "image_size": SIDE, "synthetic": {"train": 20, "val": 10, "test": 10}}
    return Params.model_validate(
        {"prepare": prepare, "compare": {"references": ["given"]}, "references": {"given": given}}
    )


def data(folder: Path, params: Prepare) -> Prepared:
    prepare(params, folder / "images", folder / "labels")
    return Prepared(folder / "images")


def test_a_reference_has_the_weights_of_its_file_and_its_own_name(tmp_path: Path, weights: Path) -> None:
    params = parameters(weights)
    job = reference.job("given", params)
    card = pretrain(job, data(tmp_path, params.prepare), tmp_path / "out", tmp_path / "scratch", show=False)
    assert (card.row, card.method, card.images_seen, card.control) == ("given", "untouched", 0, True)
    encoder, _ = encoder_folder.load(tmp_path / "out")
    expected = encoder_folder.read_tensors(weights, "pretrain")
    for name, tensor in encoder.state_dict().items():
        if name not in ("mean", "std"):
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_a_reference_whose_weights_do_not_fit_is_refused_before_anything_runs(weights: Path) -> None:
    check_references(parameters(weights), {})
    with pytest.raises(UserError, match=r"references\.given: "):
        check_references(parameters(weights, width=8), {})


def test_what_was_checked_is_not_built_again(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = parameters(weights)
    entry = check_references(params, {})["given"]
    monkeypatch.setattr("pretextbench.encoder.build", None)
    assert check_references(params, {entry["fingerprint"]: entry})["given"] == entry


def test_a_reference_that_is_not_described_is_named() -> None:
    with pytest.raises(UserError, match=r"no reference 'wide' in params.yaml. Its section `references` has: none"):
        reference.job("wide", Params())


def test_untouched_needs_start_weights(weights: Path) -> None:
    encoder, compare = {"width": 4, "weights": str(weights)}, {"controls": ["random", "untouched"]}
    Params.model_validate({"encoder": encoder, "compare": compare})
    with pytest.raises(ValueError, match=r"`untouched`, the start weights as they are, and encoder.weights is"):
        Params.model_validate({"compare": compare})
