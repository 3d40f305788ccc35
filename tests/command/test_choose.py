"""What is chosen for images and machine: always accepted, always explained, and it fits what prepare will make."""

from collections import Counter
from pathlib import Path

import pytest

from pretextbench.base.encoder_params import EncoderParams
from pretextbench.command import choose
from pretextbench.command.choose_weights import Proposal
from pretextbench.command.copies import Copies
from pretextbench.command.cost import Profile
from pretextbench.command.survey import Survey
from pretextbench.command.template import SHIPPED, check, fill
from pretextbench.command.weight_search import Weights
from pretextbench.params import Params


def survey(**changes: object) -> Survey:
    """A folder as somebody may have it, without its files."""
    import numpy as np

    from pretextbench.command.survey import Header

    headers = (Header("JPEG", "RGB", 640, 480),) * 10
    facts = {"splits": Counter(train=10_000), "classes": {"a": 5000, "b": 5000}, "unlabelled": 0, "headers": headers}
    facts |= {"root": Path("/x"), "images": 10_000, "ignored": 0, "sampled": 100, "refused": ()}
    facts |= {"pixels": np.zeros((1, 64, 64, 3), np.uint8), "copies": Copies(10_000), "near": (), "halves": (50, 50)}
    return Survey(**(facts | changes))  # type: ignore[arg-type]


def chosen(profile: Profile = Profile.quick, gpus: int = 0, **changes: object) -> Params:
    return check(fill(SHIPPED.read_text(), choose.choose(survey(**changes), profile, "/x", gpus), "By me."))


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("labelled", [True, False])
def test_every_profile_is_accepted_and_every_choice_has_a_reason(profile: Profile, labelled: bool) -> None:
    changes = {} if labelled else {"classes": {}, "unlabelled": 10_000}
    choices = choose.choose(survey(**changes), profile, "/x", 4)
    assert all(choice.reason for choice in choices)
    params = chosen(profile, 4, **changes)
    assert (params.prepare.source, params.prepare.path) == ("folder", "/x")
    assert params.compare.controls == (("random", "pixels", "supervised") if labelled else ("random",))
    assert params.pretrain.batch_size % params.pretrain.devices == 0


def test_without_labels_it_says_why_there_is_no_supervised_control() -> None:
    reasons = {c.key: c.reason for c in choose.choose(survey(classes={}), Profile.quick, "/x", 0)}
    assert reasons["controls"].startswith("no `supervised`: it learns from labels")


@pytest.mark.parametrize(("short", "side"), [(480, 32), (40, 32), (31, 24), (9, 8), (3, 8)])
def test_images_are_not_enlarged(short: int, side: int) -> None:
    from pretextbench.command.survey import Header

    assert chosen(headers=(Header("PNG", "RGB", 800, short),) * 4).prepare.image_size == side


@pytest.mark.parametrize("images", [10, 12, 20, 60, 300, 5000])
def test_the_batch_fits_the_training_split_that_prepare_will_make(images: int) -> None:
    import numpy as np

    from pretextbench.data.prepare import assign

    params = chosen(images=images, splits={"train": images, "val": 0, "test": 0}, classes={"a": images})
    rows = assign(["train"] * images, np.full(images, -1), params.prepare)
    assert 2 <= params.pretrain.batch_size <= len(rows["train"])
    assert params.pretrain.images is not None
    assert params.pretrain.images <= 24_000


def test_large_images_do_not_make_the_quick_profile_slow() -> None:
    large = Weights(EncoderParams(name="timm/resnet18", weights="x.pth"), "option")
    proposal = Proposal(references=(large,))
    many = survey(images=5000, splits={"train": 5000, "val": 0, "test": 0}, classes={"a": 5000})

    def images(profile: Profile, proposal: Proposal) -> tuple[int, int]:
        values = {c.key: c.value for c in choose.choose(many, profile, "/x", 0, "auto", proposal)}
        return values["image_size"], values["images"]

    assert images(Profile.quick, Proposal()) == (32, 24_000)
    assert images(Profile.quick, proposal) == (96, 2_600)  # a ninth
    assert images(Profile.standard, proposal) == (96, 100_000)


def test_few_images_are_split_for_the_sake_of_the_intervals() -> None:
    few = chosen(images=90, splits={"train": 90, "val": 0, "test": 0}, classes={"a": 30, "b": 60}).prepare
    assert (few.val_fraction, few.test_fraction) == (0.2, 0.3)
    assert (chosen().prepare.val_fraction, chosen().prepare.test_fraction) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("smallest", "budgets"),
    [(2, ("1",)), (10, ("5",)), (30, ("5", "10%")), (60, ("5", "20", "10%")), (900, ("5", "20", "1%", "10%"))],
)
def test_label_budgets_are_those_that_the_smallest_class_can_pay(smallest: int, budgets: tuple[str, ...]) -> None:
    assert chosen(images=900, classes={"a": smallest, "b": 900}).evaluate.budgets == budgets


def test_unreadable_files_are_let_pass_when_there_are_some() -> None:
    assert chosen(refused=(("a", "b"),) * 10).prepare.max_refused == 0.2
    assert chosen().prepare.max_refused == 0.01


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"images": 90, "splits": {"train": 90, "val": 0, "test": 0}}, "very few"),
        ({"copies": Copies(10_000, (("a", "b", "c"), ("d", "e\n")))}, "3 of 10,000 files repeat another"),
        ({"copies": Copies(10_000, (("a", "b", "c"), ("d", "e\n")))}, r": a = b, d = e\n. `pretextbench init --drop-"),
        (
            {"copies": Copies(9, (("a", "b"),), (("a", "b"),))},
            "Copies with another label than the file that they repeat: 1 (a = b).",
        ),
        ({"near": (("a", "b"),)}, "1 of 50 images have a near duplicate among 50 others: a = b. Frames"),
        ({"remarks": ("Grey is deep.",)}, "Grey is deep."),
        ({"classes": {"a": 9990, "b": 3}}, "Class 'b' has 3"),
    ],
)
def test_trouble_is_told_before_time_is_spent(changes: dict[str, object], name: str) -> None:
    assert not list(choose.warnings(survey()))
    assert any(name in line for line in choose.warnings(survey(**changes)))


@pytest.mark.parametrize("images", [150, 600, 10_000, 400_000])
@pytest.mark.parametrize("profile", list(Profile))
def test_every_method_of_a_tuned_profile_can_be_tuned(profile: Profile, images: int) -> None:
    """Standard and gpu tune, where there are labels: no method has too few settings, and no step is too short."""
    from pretextbench import registry
    from pretextbench.project import search_space
    from pretextbench.project.inventory import own_parameters
    from pretextbench.project.variant import row_of

    half = images // 2
    params = chosen(profile, 2, images=images, splits=Counter(train=images), classes={"a": half, "b": half})
    assert bool(params.tune.trials) == (profile in (Profile.standard, Profile.gpu))
    train = choose.training_images(survey(images=images, splits=Counter(train=images)))
    for name in params.compare.methods:
        method = registry.load(name)
        own = own_parameters(name, method, params)
        assert search_space.refusals(name, method, own, row_of(name, params).own, params, train) == []
    assert chosen(profile, 2, classes={}, unlabelled=10_000).tune.trials == 0, "without labels nothing is tuned"
