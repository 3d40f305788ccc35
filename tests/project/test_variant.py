"""Variants: a method in two rows, with other parameters or without the start weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from pretextbench import registry
from pretextbench.augment.pipeline import Policy
from pretextbench.base.files import write_whole
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import build
from pretextbench.errors import PluginError, UserError
from pretextbench.params import Compare, Params, parse_text
from pretextbench.project import layout
from pretextbench.project.inventory import take_stock
from pretextbench.project.variant import Variant, budget_of, check_names
from pretextbench.train.pretrain import pretrain
from stages import worker
from stages.arguments import row_named

SIDE = 16
SCRATCH = {"method": "simclr", "from_scratch": True, "temperature": 0.3}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(17)
    params = Params.model_validate({"encoder": {"width": 4}}).encoder
    save_file(build(params, SIDE, (0.5,) * 3, (0.25,) * 3).state_dict(), tmp_path / "start.safetensors")
    return str(tmp_path / "start.safetensors")


def parameters(weights: str | None = None, methods: tuple[str, ...] = ("simclr",), **sections: object) -> Params:
    return Params.model_validate(
        {
            "prepare": {"image_size": SIDE, "synthetic": {"train": 32, "val": 16, "test": 16}},
            "encoder": {"width": 4, "weights": weights},
            "pretrain": {"images": 32, "batch_size": 16, "precision": "fp32", "accelerator": "cpu"},
            "compare": {"methods": methods, "controls": sections.pop("controls", [])},
            "methods": sections,
        }
    )


def test_a_variant_is_an_entry_of_the_method_with_parameters_of_its_own(weights: str) -> None:
    entries = take_stock(parameters(weights, ("simclr", "scratch"), scratch=SCRATCH), {})
    assert (entries["scratch"]["method"], entries["scratch"]["from_scratch"]) == ("simclr", True)
    assert (entries["scratch"]["params"]["temperature"], entries["simclr"]["params"]["temperature"]) == (0.3, 0.2)
    assert entries["scratch"]["source_hash"] == entries["simclr"]["source_hash"]
    assert not {"method", "from_scratch"} & set(entries["simclr"]), "an entry of earlier versions keeps its bytes"


@pytest.mark.parametrize(
    ("methods", "sections", "message"),
    [
        (("fast",), {"fast": {"method": "simcrl"}}, r"methods\.fast\.method: no such method\. .*'simclr'"),
        (("simclr",), {"simclr": {"method": "rotation"}}, "'simclr' is a method itself. .* such as rotation-2"),
        (("fast",), {"fast": {"method": "simclr", "heat": 1}}, r"methods\.fast\.heat: unknown key"),
        (("fast",), {"fast": {"method": "simclr", "from_scratch": 7}}, r"methods\.fast\.from_scratch"),
        (("fast",), {"fast": {"method": "simclr", "from_scratch": True}}, "encoder.weights is null"),
        (("fast",), {"fast": {"method": "supervised"}}, r"\['fast'\], which belong under compare.controls"),
        (("simclr",), {"controls": ["rotation"]}, "'rotation' is no control"),
        (("simclr",), {"low": {"method": "random"}, "controls": ["low"]}, "'random' is not trained"),
    ],
)
def test_a_row_that_cannot_be_is_refused_in_words(
    methods: tuple[str, ...], sections: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        take_stock(parameters(None, methods, **sections), {})


def test_no_plugin_has_a_parameter_of_the_row(install: Callable[..., Path]) -> None:
    assert set(Variant.model_fields) == registry.ROW_FIELDS
    source = """
from pretextbench.method import PretextMethod
from pretextbench.params import MethodParams

class Params(MethodParams):
    method: str = "own"

class Ours(PretextMethod[Params]):
    api_version = 1
    Params = Params
"""
    install("ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": source})
    with pytest.raises(PluginError, match=r"has a parameter 'method', which params\.yaml uses"):
        registry.load("ours")


def test_a_method_at_another_budget_is_trained_for_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of `simclr-48` train the row simclr, with its policy, on 48 images in place of 32."""
    monkeypatch.chdir(tmp_path)
    params = parameters()
    entries = take_stock(params.model_copy(update={"compare": Compare(methods=("simclr",), budgets=(48,))}), {})
    write_whole(layout.METHODS, json.dumps(entries).encode())
    method, folder = registry.load("simclr"), layout.augmented("simclr")
    policy = Policy("simclr", SIDE, method.recipe(method.Params(), SIDE))
    write_whole(folder / "policy.json", policy.to_json().encode())
    write_whole(folder / "derived.safetensors", save({}))
    usual, other = worker.job("simclr", 0, params), worker.job("simclr-48", 0, params)
    assert (usual.row, other.row) == ("", "simclr-48")
    assert (usual.pretrain.images, other.pretrain.images) == (32, 48)
    assert other.params == usual.params
    assert row_named("simclr-48") == "simclr"
    with pytest.raises(UserError, match="'rotation-48' is not in"):
        worker.job("rotation-48", 0, params)


def test_a_row_with_the_name_of_another_at_a_budget_is_refused() -> None:
    compare = Compare(methods=("simclr", "simclr-48"), budgets=(48,))
    params = parameters(**{"simclr-48": {"method": "simclr"}})
    with pytest.raises(UserError, match=r"'simclr-48' is a row of its own, and the name of 'simclr' at a budget"):
        check_names(params.model_copy(update={"compare": compare}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{compare: {budgets: [100, 200]}, pretrain: {images: 100}}",
            r"the file: compare\.budgets has 100, the budget of pretrain\.images\. Take it out there",
        ),
        (
            "{compare: {budgets: [100]}, pretrain: {images: null, multiply_adds: 1.0e+12}}",
            r"the file: compare\.budgets are images seen, found \[100\], and pretrain\.multiply_adds is set\.",
        ),
        ("compare: {budgets: [1.5]}", r"compare\.budgets\.0: needs a whole number \(found 1\.5\)\."),
        ("compare: {budgets: [5, 5]}", r"compare\.budgets: names one entry twice"),
    ],
)
def test_budgets_that_cannot_be_are_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_text(text, "params.yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("simclr", ("simclr", None)),
        ("simclr-96000", ("simclr", 96_000)),
        ("simclr-2", ("simclr-2", None)),  # a row of its own
        ("simclr-2-50", ("simclr-2", 50)),
        ("other-50", ("other-50", None)),
        ("simclr-v2", ("simclr-v2", None)),
    ],
)
def test_the_row_and_the_budget_of_a_name(name: str, expected: tuple[str, int | None]) -> None:
    assert budget_of(name, ["simclr", "simclr-2"]) == expected


def test_a_method_is_checked_at_every_budget() -> None:
    """A queue that fills at the common budget and not at another one is refused before anything is trained."""
    params = parameters(methods=("swav",), swav={"queue": 16, "batch_size": 16, "prototypes": 8})
    take_stock(params, {})
    small = params.model_copy(update={"compare": params.compare.model_copy(update={"budgets": (16,)})})
    with pytest.raises(UserError, match=r"of 16 embeddings, would never be full: 0 images are seen before the"):
        take_stock(small, {})


def test_a_control_may_have_a_variant(weights: str) -> None:
    sections = {"plain": {"method": "supervised", "from_scratch": True}}
    entries = take_stock(parameters(weights, controls=["supervised", "plain"], **sections), {})
    assert entries["plain"]["method"] == "supervised"


def trained(params: Params, name: str, folder: Path) -> tuple[dict[str, object], bytes]:
    """Card and weights of a row, trained as the stage does it."""
    entries = take_stock(params, {})
    write_whole(layout.METHODS, json.dumps(entries).encode())
    method = worker.contestant(name)
    policy = Policy(name, SIDE, method.method.recipe(method.params, SIDE))
    write_whole(layout.augmented(name) / "policy.json", policy.to_json().encode())
    write_whole(layout.augmented(name) / "derived.safetensors", save({}))
    prepare(params.prepare, folder / "images", folder / "labels")
    data = Prepared(folder / "images")
    card = pretrain(worker.job(name, 0, params), data, folder / name, folder / "scratch", show=False)
    return card.model_dump(), (folder / name / "encoder.safetensors").read_bytes()


def test_a_row_from_scratch_is_trained_as_if_there_were_no_weights(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card, made = trained(parameters(weights, ("simclr", "scratch"), scratch=SCRATCH), "scratch", tmp_path / "a")
    plain, same = trained(parameters(None, simclr={"temperature": 0.3}), "simclr", tmp_path / "b")
    assert (card["row"], card["method"], card["control"], card["start_sha256"]) == ("scratch", "simclr", False, "")
    assert (plain["row"], made == same) == ("", True)
