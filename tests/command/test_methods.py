"""What is installed is listed, broken things too; what one method is, is read from its code."""

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field

from pretextbench.command import methods
from pretextbench.command.describe import parameters
from pretextbench.command.methods import names
from pretextbench.params import MethodParams
from tests.command.conftest import Type
from tests.conftest import Install

GOOD = '''
"""Ours: a method that says one thing.

Read this:

    loss = x^2        in nats

And that.
"""
from pydantic import Field
from pretextbench.method import PretextMethod
from pretextbench.params import MethodParams
from pretextbench.recipe import HorizontalFlip, View, Recipe
class Params(MethodParams):
    depth: int = Field(3, ge=1, le=9, description="how [red]deep[/red]")
class Ours(PretextMethod):
    """The class."""
    api_version = 1
    Params = Params
    reference = "Nobody 2020"
    @classmethod
    def recipe(cls, params, image_size):
        return Recipe(views=(View(ops=(HorizontalFlip(p=0.25),), size=image_size // 2, draws=2), View()))
'''
BROKEN = {
    "ours": (GOOD.replace("api_version = 1", "api_version = 99"), "is written for API 99, but this is API 1"),
    "lost": ("import nothing_like_this", "does not import: ModuleNotFoundError: No module named 'nothing_like_this'"),
    "left": ("import sys; sys.exit(3)", "does not import: SystemExit: 3"),
    "odd": ("class Ours: pass", "is not a PretextMethod"),
    "marked": ("raise ValueError('[/nothing] [bold]')", "ValueError: [/nothing] [bold]"),
}


def listed(typed: Type) -> dict[str, list[dict[str, object]]]:
    result = typed("methods", "--json")
    assert result.code == 0
    rows: dict[str, list[dict[str, object]]] = {}
    for row in json.loads(result.out):
        rows.setdefault(row["name"], []).append(row)
    return rows


def test_what_is_installed_is_listed(install: Install, typed: Type) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": GOOD})
    rows = listed(typed)
    assert {"ours", "random", "supervised"} <= set(rows)
    assert rows["ours"] == [
        {
            "name": "ours",
            "target": "pretext_ours:Ours",
            "distribution": "pretext-ours",
            "version": "1.2.3",
            "api": 1,
            "problem": "",
            "title": "Ours: a method that says one thing.",
        }
    ]
    table = typed("methods").out
    assert "ours" in table
    assert "cannot be used" not in table.replace("or why it cannot be used", "")


LONG = "Ours: a method that says one thing (Nobody and Somebody 2020, https://example.org)."
TITLES = {
    LONG: "a method that says one thing",
    "The encoder as it comes: weights that nothing has changed.": "The encoder as it comes",
    "No colon (and no year).": "No colon (and no year)",
}


@pytest.mark.parametrize("title", TITLES)
def test_a_narrow_terminal_has_the_task_alone(title: str) -> None:
    assert methods._task(title) == TITLES[title]


def test_on_a_narrow_terminal_a_method_takes_two_lines(
    install: Install, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"pretext_ours.py": GOOD.replace("Ours: a method that says one thing.", LONG), "pretext_left.py": "1/0"}
    install("pretext-ours", {"ours": "pretext_ours:Ours", "left": "pretext_left:Ours"}, sources)
    monkeypatch.setenv("COLUMNS", "60")
    lines = [line.rstrip() for line in typed("methods").out.splitlines()]
    assert max(map(len, lines)) <= 60
    assert "ours               a method that says one thing" in lines
    assert any(line.startswith("left               fault does not import: ZeroDivisionError") for line in lines)
    monkeypatch.setenv("COLUMNS", "90")
    assert "pretext-ours" in typed("methods").out, "from 90 columns on"


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_listed_with_the_reason(name: str, install: Install, typed: Type) -> None:
    source, reason = BROKEN[name]
    install("pretext-broken", {name: "pretext_broken:Ours"}, {"pretext_broken.py": source})
    (row,) = listed(typed)[name]
    assert reason in str(row["problem"])
    assert row["api"] is None
    result = typed("methods")
    assert result.code == 0
    (line,) = [line for line in result.out.splitlines() if line.startswith(f"{name} ")]
    assert "fault" in line
    assert reason in line
    assert "1 cannot be used" in result.out
    assert typed("methods", "show", name).code == 2


def test_a_name_claimed_twice_has_a_row_for_each(install: Install, typed: Type) -> None:
    for number in ("one", "two"):
        install(f"pretext-{number}", {"ours": f"pretext_{number}:Ours"}, {f"pretext_{number}.py": GOOD})
    rows = listed(typed)["ours"]
    assert {row["distribution"] for row in rows} == {"pretext-one", "pretext-two"}
    assert all("claimed twice" in str(row["problem"]) for row in rows)
    assert "2 cannot be used" in typed("methods").out


def test_a_name_that_params_yaml_would_refuse(install: Install, typed: Type) -> None:
    install("pretext-ours", {"My_Own": "pretext_ours:Ours"}, {"pretext_ours.py": GOOD})
    assert "cannot stand in params.yaml" in str(listed(typed)["My_Own"][0]["problem"])


def test_completion_knows_the_names_without_importing_one(install: Install) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": "raise ValueError"})
    assert "ours" in names()


# --- show ---------------------------------------------------------------------------------------------------------


def test_one_method_is_shown_whole(install: Install, typed: Type) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": GOOD})
    result = typed("methods", "show", "ours", "--image-size", 64)
    assert result.code == 0
    for part in (
        "ours (pretext_ours:Ours, from pretext-ours 1.2.3, API 1)\nOurs: a method that says one thing.\n",
        "\nMinimises\n  loss = x^2        in nats\n",
        "whole number >= 1, <= 9",
        "how [red]deep[/red]",
        "\nAugmentation at 64 px\n  view 1, drawn 2 times, 32 px\n    horizontal_flip  p 0.25\n  view 2, drawn 1 time\n"
        "    the image as it is\n",
        "\nReference\n  Nobody 2020\n",
    ):
        assert part in result.out
    assert "And that" not in result.out


def test_json_carries_the_same(install: Install, typed: Type) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": GOOD})
    facts = json.loads(typed("methods", "show", "ours", "--json").out)
    assert facts["formula"] == "loss = x^2        in nats"
    depth = next(row for row in facts["parameters"] if row["name"] == "depth")
    assert depth == {
        "name": "depth",
        "default": 3,
        "allowed": "whole number >= 1, <= 9",
        "description": "how [red]deep[/red]",
    }


@pytest.mark.parametrize("name", ["simclr", "rotation", "denoising", "context-encoder", "colorization"])
def test_every_method_of_the_project_has_a_formula_and_a_paper(name: str, typed: Type) -> None:
    facts = json.loads(typed("methods", "show", name, "--json").out)
    assert "=" in facts["formula"]
    assert facts["reference"]
    assert facts["title"].split()[0].lower().startswith(name.split("-")[0][:6])


def test_an_unknown_name_is_told_with_the_nearest(typed: Type) -> None:
    result = typed("methods", "show", "simcl")
    assert result.code == 2
    assert result.message.startswith("Unknown method 'simcl'. Did you mean 'simclr'?")


class Everything(MethodParams):
    """One parameter of every kind."""

    share: Annotated[float, Field(ge=0, lt=1, description="a")] = 0.5
    kind: Literal["x", "y"] = "x"
    maybe: int | None = Field(None, gt=0)
    switch: bool = True
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[Annotated[int, Field(gt=3)], ...] = (4,)


def test_ranges_in_words() -> None:
    actual = {parameter.name: (parameter.default, parameter.allowed) for parameter in parameters(Everything)}
    assert (
        actual.items()
        >= {
            "share": (0.5, "number >= 0, < 1"),
            "kind": ("x", "x | y"),
            "maybe": (None, "whole number > 0 or null"),
            "switch": (True, "true or false"),
            "pair": ((0.0, 1.0), "list of 2: number"),
            "many": ((4,), "list: whole number > 3"),
            "optimizer.lr": (1e-3, "number > 0, <= 1000"),
            "optimizer.name": ("adamw", "sgd | adamw | lars"),
        }.items()
    )
