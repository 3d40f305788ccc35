"""Rows from weights: every proposal is accepted by the inventory, and each choice has its reason."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from pretextbench.command import choose_weights, init, weight_check
from pretextbench.command.choose import choose
from pretextbench.command.choose_weights import Proposal, image_size, propose
from pretextbench.command.cost import Profile
from pretextbench.command.survey import Header
from pretextbench.command.template import SHIPPED, check, fill
from pretextbench.command.weight_search import Weights
from pretextbench.params import EncoderParams, Params, load
from tests import encoder_files
from tests.command.conftest import Type
from tests.command.photographs import classes
from tests.command.test_choose import survey


def weights(
    name: str, value: str, origin: str = "option", side: int | None = None, small: int | None = None
) -> Weights:
    return Weights(EncoderParams(name=name, weights=value), origin, side, small)  # type: ignore[arg-type]


RESNET = weights("timm/resnet18", "a1_in1k", "cache")
DINO = weights("timm/vit_small_patch14_dinov2", "lvd142m", "server", 518)
SERVER = weights("timm/resnet50", "a1_in1k", "server")


def filled(profile: Profile, proposal: Proposal, **changes: object) -> tuple[str, Params]:
    choices = choose(survey(**changes), profile, "/x", 2, "auto", proposal)
    assert all(choice.reason for choice in choices)
    text = fill(SHIPPED.read_text(), choices, "By me.")
    assert max(len(line) for line in text.splitlines() if "# ->" in line) <= 120
    return text, check(text)


def test_the_first_of_any_size_is_the_start_and_others_are_rows() -> None:
    assert propose([RESNET], Profile.quick) == Proposal(None, (RESNET,))
    assert propose([DINO, RESNET], Profile.standard) == Proposal(RESNET, (DINO,))
    assert propose([RESNET, SERVER, DINO], Profile.gpu) == Proposal(RESNET, (DINO,))
    assert propose([DINO], Profile.standard) == Proposal(None, (DINO,))
    given = weights("timm/vit_small_patch16_224", "/v.pth", "option", 224)
    assert propose([given], Profile.standard).start == weights("vit-small", "/v.pth")
    assert propose([given], Profile.quick).references == (given,)


@pytest.mark.parametrize(
    ("profile", "labelled"), [(Profile.quick, True), (Profile.standard, False), (Profile.gpu, True)]
)
def test_every_proposal_is_accepted_by_the_inventory(profile: Profile, labelled: bool, project: Path) -> None:
    changes: dict[str, object] = {} if labelled else {"classes": {}, "unlabelled": 10_000}
    text, params = filled(profile, propose([RESNET, SERVER, DINO], profile), **changes)
    weight_check.accept(params)
    if profile is Profile.quick:
        assert params.compare.references == ("resnet18-weights",)
        assert "untouched" not in params.compare.controls
        assert "simclr-scratch" not in params.compare.methods
        assert (params.prepare.image_size, params.encoder.name) == (96, "resnet10")
        return
    assert params.compare.references == ("vit-small-patch14-dinov2-weights",)
    assert params.references[params.compare.references[0]].weights == "lvd142m"
    assert (params.encoder.name, params.encoder.weights) == ("timm/resnet18", "a1_in1k")
    assert params.compare.controls == ("random", "untouched", *(["pixels", "supervised"] if labelled else []))
    assert "simclr" in params.compare.methods
    assert "colorization" not in params.compare.methods
    assert params.compare.methods[-1] == "simclr-scratch"
    assert params.methods["simclr-scratch"] == {"method": "simclr", "from_scratch": True}
    assert "simclr once more, without the start weights" in " ".join(text.split()).replace("# -> ", "")


@pytest.mark.parametrize("task", ["multi-label", "number", "mask"])
def test_with_labels_that_are_no_classes_the_pixels_are_compared_too(task: str) -> None:
    """`pixels` was left out, and the reason said that there were no labels."""
    proposal = propose([RESNET], Profile.standard)
    (choice,) = choose_weights.controls(proposal, False, task)
    assert choice.value == ["random", "untouched", "pixels"]
    assert choice.reason.startswith(
        "no `supervised`, which learns classes: these labels are none; the methods continue"
    )


def test_files_of_every_kind_are_accepted_as_start_and_as_row(project: Path, tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "a.pth")
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "b.pth")
    folder = encoder_files.write(tmp_path / "c d: e", side=32)
    for path, name in ((tmp_path / "a.pth", "a"), (tmp_path / "b.pth", "b"), (folder, "c-d-e")):
        candidate = weight_check.Candidate(f"{path}{'/' if path.is_dir() else ''}", "option")
        usable = weight_check.usable([candidate], None, 1)
        for profile in (Profile.quick, Profile.standard):
            _, params = filled(profile, propose(usable, profile))
            if (profile is Profile.standard) == (name == "b"):  # as for the others: seconds
                weight_check.accept(params)
            if profile is Profile.quick:
                assert params.compare.references == (f"{name}-weights",)
                assert str(path) in str(params.references[f"{name}-weights"].weights)
            else:
                assert (params.encoder.weights or "").startswith(str(path))


@pytest.mark.parametrize(
    ("proposal", "usual", "fine", "side"),
    [
        (Proposal(None, (RESNET,)), 32, 480, 96),
        (Proposal(None, (RESNET,)), 32, 80, None),  # to enlarge all images for one row would cost the others
        (Proposal(None, (weights("resnet10", "/x/", small=32),)), 32, 480, None),
        (Proposal(None, (RESNET,)), 128, 480, None),
        (Proposal(RESNET), 64, 480, 96),
        (Proposal(RESNET), 32, 32, 96),
        (Proposal(RESNET), 128, 480, 128),
        (Proposal(DINO), 64, 480, 480),
        (Proposal(DINO), 64, 2000, 518),
        (Proposal(weights("resnet10", "/x/", small=32)), 64, 480, None),
        (Proposal(), 64, 480, None),
    ],
)
def test_images_are_as_large_as_the_weights_need(proposal: Proposal, usual: int, fine: int, side: int | None) -> None:
    chosen = image_size(proposal, usual, fine)
    assert (chosen[0] if chosen else None) == side
    if fine < 96 and chosen:
        assert "is enlarged" in chosen[1]


def test_small_images_are_enlarged_for_start_weights() -> None:
    headers = (Header("PNG", "RGB", 40, 40),) * 4
    assert filled(Profile.standard, Proposal(RESNET), headers=headers)[1].prepare.image_size == 96
    assert filled(Profile.quick, Proposal(None, (RESNET,)), headers=headers)[1].prepare.image_size == 32


def test_rows_have_names_that_no_method_has() -> None:
    rows = (weights("resnet10", "/y/simclr.pth"), weights("resnet10", "/z/simclr.pth"), weights("resnet10", "/y/9.pth"))
    assert choose_weights.names(Proposal(None, rows)) == ["simclr-weights", "simclr-weights-2", "file-weights"]


@pytest.mark.parametrize(
    ("proposal", "looked", "text"),
    [
        (Proposal(), "", "weights: none, by --weights none"),
        (
            Proposal(),
            "no files; x cannot be reached (y)",
            "none used; `--weights FILE` takes a file; no files; x cannot",
        ),
        (Proposal(), "no files; x can be reached", "`--weights timm/resnet18` adds a row; no files"),
        (Proposal(RESNET, (DINO,)), "", "training starts from timm/resnet18 a1_in1k (in a cache here); timm/vit_small"),
    ],
)
def test_what_was_looked_at_is_one_line(proposal: Proposal, looked: str, text: str) -> None:
    line = choose_weights.sentence(proposal, looked, Profile.quick)
    assert text in line
    assert "\n" not in line


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that checks weights is this one."""
    tasks: dict[str, Any] = {"weights": weight_check.usable, "accept": weight_check.accept, "near": lambda *_: []}

    class Same:
        def __enter__(self) -> "Same":
            return self

        def __exit__(self, *reasons: object) -> None:
            pass

    monkeypatch.setattr(init, "worker", lambda wanted: Same())
    monkeypatch.setattr(init, "ask", lambda process, name, arguments, tell=str: tasks[name](*arguments))


def test_a_file_becomes_a_row(project: Path, tmp_path: Path, typed: Type, here: None) -> None:
    folder = encoder_files.write(tmp_path / "mine", side=32)
    result = typed("init", "--images", classes(tmp_path / "images"), "--no-measure", "--weights", folder)
    assert (result.code, result.error) == (0, "")
    assert "weights: mine (resnet10) is a row as it is" in result.out
    params = load(project / "params.yaml")
    assert params.references["mine-weights"].weights == f"{folder}/"


@pytest.mark.parametrize("labels", [True, False])
def test_what_cannot_be_used_leaves_everything_as_it_was(
    labels: bool, project: Path, tmp_path: Path, typed: Type, here: None
) -> None:
    images, table, bad = classes(tmp_path / "images", 10), tmp_path / "labels.csv", tmp_path / "bad.pth"
    table.write_text("file,label\n" + "".join(f"cat/{i}.png,{'ab'[i % 2]}\n" for i in range(10)))
    bad.write_bytes(b"bad")
    before = (project / "params.yaml").read_bytes()
    more = ["--labels", table] if labels else []
    for text, message in ((bad, "cannot be read as weights"), ("timm/resnet18", "is in no cache here")):
        result = typed("init", "--images", images, "--no-measure", "--weights", text, *more)
        assert result.code == 2
        assert message in result.error
        assert "Traceback" not in result.error
    assert (project / "params.yaml").read_bytes() == before
    assert not (project / "data").exists()
