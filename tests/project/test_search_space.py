"""Search spaces: the built-in ones are valid, a wrong one is refused in a sentence, and what the user sets stays."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import Field

from pretextbench import registry
from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import Control, MethodParams, Params, Pretrain
from pretextbench.project import demands, search_space
from pretextbench.project.inventory import take_stock
from pretextbench.project.search_space import BATCH, RATE

METHODS = [name for name in registry.available() if name not in (*get_args(Control), "mean-colour")]


class Own(MethodParams):
    """Parameters with ranges of every kind."""

    temperature: float = Field(0.2, gt=0, le=10, description="x")
    momentum: float = Field(0.99, ge=0, lt=1, description="x")
    crops: int = Field(2, ge=2, description="x")


class Method:
    """As much of a method as the search looks at."""

    Params = Own
    search: dict[str, Any] = {"temperature": (0.1, 0.2, 0.5)}


def stating(search: Any) -> Any:
    return type("Stating", (Method,), {"search": search})


def params(**sections: Any) -> Params:
    return Params.model_validate({"tune": {"trials": 6}, **sections})


@pytest.mark.parametrize("name", METHODS)
def test_the_space_of_every_built_in_method_is_valid(name: str) -> None:
    method = registry.load(name)
    assert list(search_space.mistakes(method)) == []
    own = method.Params()
    searched = search_space.space(method, own, [], params(), 10_000)
    first = search_space.current(own, searched, params().pretrain)
    assert all(first[key] in values for key, values in searched.items()), (
        "the own values are among those that are tried"
    )
    assert search_space.size(searched, first) >= 9
    for setting in search_space.settings(searched, first, 9, np.random.default_rng(0)):
        search_space.tuned(own, setting)
    assert set(method.search), "it has a parameter of its own to search"


def test_rate_and_batch_are_searched_for_every_method() -> None:
    searched = search_space.space(stating({}), Own(), [], params(), 10_000)
    assert searched == {RATE: (pytest.approx(1e-3 / 3, rel=1e-5), 1e-3, 3e-3), BATCH: (64, 128, 256)}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"temperature": ()}, "`search` of `temperature` is empty: name two values or more"),
        ({"temperature": (0.2,)}, "`search` of `temperature` has one value, 0.2: name two values or more"),
        ({"temperature": (0.2, 0.2)}, "`search` of `temperature` names a value twice"),
        ({"temperature": "0.2"}, "`search` of `temperature` needs a list of values, found '0.2'"),
        ({"temperature": (0.2, 11)}, "has 11, which is not allowed: the nearest allowed is 10"),
        ({"temperature": (0.2, 0)}, "has 0, which is not allowed: the nearest allowed is just above 0"),
        ({"momentum": (0.9, 1)}, "has 1, which is not allowed: the nearest allowed is just below 1"),
        ({"crops": (1, 2)}, "has 1, which is not allowed: the nearest allowed is 2"),
        ({RATE: (0.1, 2000)}, "has 2000, which is not allowed: the nearest allowed is 1000"),
        ({"temprature": (0.1, 0.2)}, "names `temprature`, which is no parameter. Did you mean 'temperature'?"),
        ({"optimizer": (1, 2)}, "names `optimizer`, which is no parameter"),
        ({"temperature": (1, 2), "momentum": (0.1, 0.2), "crops": (2, 3)}, "at most 2 parameters of its own"),
        (["temperature"], "`search` is list, and a mapping is needed"),
    ],
)
def test_a_wrong_space_is_refused_in_a_sentence(search: Any, message: str) -> None:
    (fault,) = search_space.mistakes(stating(search))
    assert message in fault
    assert "\n" not in fault
    assert not fault.endswith(".")
    (refusal,) = search_space.refusals("mine", stating(search), Own(), {}, params(), 10_000)
    assert refusal == f"Method 'mine' cannot be tuned: {fault}."


def test_what_params_yaml_sets_is_not_searched() -> None:
    raw = {"temperature": 0.7, "optimizer": {"lr": 0.01}, "momentum": None}
    named = search_space.fixed(raw)
    assert named == ["optimizer.lr", "temperature"]
    own = Own.model_validate({"temperature": 0.7, "optimizer": {"lr": 0.01}})
    assert list(search_space.space(Method, own, named, params(), 10_000)) == [BATCH]
    everything = {**raw, "batch_size": 64}
    assert search_space.space(Method, own, search_space.fixed(everything), params(), 10_000) == {}
    assert search_space.refusals("mine", Method, own, everything, params(), 10_000) == []


@pytest.mark.parametrize(
    ("sections", "images", "batches"),
    [
        ({}, 10_000, (64, 128, 256)),
        ({}, 300, (64, 128)),  # half of the images at most
        ({"pretrain": {"batch_size": 512}}, 10_000, (64, 128, 256, 512)),
        ({"pretrain": {"batch_size": 192, "accumulate": 3}}, 10_000, None),  # none of the others has equal parts
        ({"pretrain": {"devices": 4, "batch_size": 128}}, 10_000, (64, 128, 256)),
    ],
)
def test_batches_that_cannot_be_trained_are_left_out(
    sections: dict[str, Any], images: int, batches: tuple[int, ...] | None
) -> None:
    assert search_space.space(Method, Own(), [], params(**sections), images).get(BATCH) == batches


def test_settings_are_different_and_drawn_from_the_seed() -> None:
    searched = search_space.space(Method, Own(), [], params(), 10_000)
    first = search_space.current(Own(), searched, params().pretrain)

    def draw(count: int, seed: int = 0) -> list[Any]:
        return search_space.settings(searched, first, count, np.random.default_rng(seed))

    every = draw(27)
    assert len({tuple(setting.values()) for setting in every}) == search_space.size(searched, first) == 27
    assert every[0] == first == {RATE: 1e-3, BATCH: 64, "temperature": 0.2}
    assert draw(5) == every[:5]
    assert draw(5, 1) != every[:5]


@pytest.mark.parametrize(
    ("raw", "sections", "message"),
    [
        ({}, {"tune": {"trials": 28}}, "has 27 settings to try (optimizer.lr, batch_size, temperature). Lower"),
        ({"temperature": 0.2}, {"tune": {"trials": 10}}, "methods.mine sets temperature, and method 'mine' has 9 sett"),
        ({}, {"tune": {"trials": 4, "images": 100}}, "tune.images is 100, less than one step of method 'mine' with a "),
        ({}, {"tune": {"trials": 0, "images": 100}}, ""),
        ({}, {}, ""),
    ],
)
def test_a_search_that_cannot_be_fair_is_refused(raw: dict[str, Any], sections: dict[str, Any], message: str) -> None:
    faults = search_space.refusals("mine", Method, Own.model_validate(raw), raw, params(**sections), 10_000)
    assert len(faults) == bool(message)
    assert all(message in fault for fault in faults)


def test_a_value_that_does_not_go_with_the_users_is_not_tried() -> None:
    """Two cells on a side have 24 permutations: a hundred cannot be tried."""
    method = registry.load("jigsaw")
    own = method.Params(grid=2, permutations=24)
    assert "permutations" not in search_space.space(method, own, ["grid"], params(), 10_000)


def test_one_methods_plan_does_not_change_another() -> None:
    """DVC compares the entries by method: those that did not change make nothing stale."""
    before = search_space.plan(params())
    after = search_space.plan(params(methods={"simclr": {"temperature": 0.2}}))
    assert before["simclr"] != after["simclr"], "the default, but set: it is not searched any more"
    assert before["colorization"] == after["colorization"]
    longer = params(pretrain={"images": 99}, evaluate={"linear_steps": 3})
    assert search_space.plan(longer) == before, "the budget of the trainings is not that of the trials"
    assert search_space.plan(params(tune={})) == {"simclr": {}, "colorization": {}}


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"trials": 1}, "`trials` is 1: the first trial is the method's own parameters, so there is nothing to choose"),
        ({"trials": -1}, "tune.trials: Input should be greater than or equal to 0 (found -1)"),
        ({"trials": 5, "eta": 1}, "tune.eta: Input should be greater than or equal to 2 (found 1)"),
        ({"trials": 5, "trails": 5}, "tune.trails: unknown key. Did you mean 'trials'?"),
        ({"trials": 200}, "tune.trials is 200, but method 'simclr' has 27 settings to try"),
        ({"trials": 5, "images": 100}, "tune.images is 100, less than one step of method 'simclr' with a batch of 256"),
    ],
)
def test_a_mistake_in_the_section_is_one_sentence_before_anything_runs(tune: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        take_stock(parse(Params, {"tune": tune, "compare": {"methods": ["simclr"]}}, "params.yaml"), {})
    assert message in str(refusal.value)


def test_prepared_images_that_are_too_few_for_the_trials_are_refused(tmp_path: Path) -> None:
    """How many there are in a folder is known when they are prepared: a batch is at most half of them."""
    raw = {"prepare": {"source": "folder", "path": str(tmp_path)}, "compare": {"methods": ["simclr"], "controls": []}}
    wanted = Params.model_validate({**raw, "tune": {"trials": 12}, "pretrain": {"batch_size": 16}})
    entries = take_stock(wanted, {})
    data = SimpleNamespace(images=lambda split: [0] * 100, image_size=32, colour=True)
    (refusal,) = demands.of_data(wanted, entries, data)  # type: ignore[arg-type]
    assert "tune.trials is 12, but method 'simclr' has 9 settings to try (optimizer.lr, temperature). Lower" in refusal


def test_a_trial_has_one_budget_one_device_and_no_snapshots() -> None:
    whole = Pretrain(images=None, multiply_adds=1e12, devices=4, nodes=2, snapshots=(0.5,), batch_size=32)
    trial = search_space.for_trials(whole, 640)
    assert trial == Pretrain(images=640, snapshots=(), batch_size=32)
