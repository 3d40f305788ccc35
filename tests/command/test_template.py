"""params.yaml with its comments: choices change their lines alone, whatever is written into them."""

import pytest
import yaml

from pretextbench.command.template import SHIPPED, Choice, check, fill
from pretextbench.errors import UserError
from pretextbench.params import Params, parse_text
from tests.command.conftest import CHECKOUT


def test_the_template_is_the_file_that_is_shipped() -> None:
    """To mend it: `cp params.yaml src/pretextbench/command/params.yaml`."""
    assert SHIPPED.read_text() == (CHECKOUT / "params.yaml").read_text()


def test_it_shows_the_defaults() -> None:
    shown = parse_text(SHIPPED.read_text(), "params.yaml").model_dump()
    assert shown == Params().model_dump()


def test_a_choice_changes_its_line_alone_and_gives_its_reason() -> None:
    shipped = SHIPPED.read_text()
    text = fill(shipped, [Choice("compare", "seed", 7, "because")], "By me.")
    assert check(text).compare.seed == 7
    assert check(text).prepare.seed == check(text).evaluate.seed == 0
    added = [line for line in text.splitlines() if line not in shipped.splitlines()]
    assert added == ["# By me.", "  seed: 7                # -> because"]
    assert len(text.splitlines()) == len(shipped.splitlines()) + 1


def test_a_comment_that_is_there_stays() -> None:
    text = fill(SHIPPED.read_text(), [Choice("prepare", "image_size", 48, "a " * 80)], "By me.")
    at = [line.startswith("  image_size: 48") for line in text.splitlines()].index(True)
    lines = text.splitlines()[at : at + 3]
    assert lines[0].endswith("# side in pixels; the cost of training grows with its square")
    assert lines[1].strip().startswith("# -> a a")
    assert lines[2].strip().startswith("# -> a a")
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    "value",
    [
        *(
            "folder",
            "/data/photos",
            "/with space/x",
            "/a: b # c",
            "yes",
            "12",
            "'",
            '"',
            "\\n",
            "a\nb",
            "ε\U0001f600",
            "~",
        ),
        *("\x7f\x85\u2028", "", "null", "/tab\there", "-", 3, 0.3, 1e-5, ["a", "10%", "5"], [0, 1], []),
    ],
)
def test_any_value_can_be_written(value: object) -> None:
    text = fill(SHIPPED.read_text(), [Choice("prepare", "path", value, "because")], "")
    assert yaml.safe_load(text)["prepare"]["path"] == value
    assert sum("# folder of your images" in line for line in text.splitlines() if line.startswith("  path: ")) == 1


def test_a_row_of_an_empty_section_has_lines_of_its_own() -> None:
    rows = [Choice("references", name, {"name": "resnet18", "weights": f"/{name}: #.pth"}, "because") for name in "ab"]
    text = fill(SHIPPED.read_text(), rows, "")
    assert [f"{x.name} {x.weights}" for x in check(text).references.values()] == [
        "resnet18 /a: #.pth",
        "resnet18 /b: #.pth",
    ]
    at = text.splitlines().index("  a: {name: resnet18, weights: '/a: #.pth'}")
    assert [line.strip() for line in text.splitlines()[at + 1 :]] == [
        "# -> because",
        "b: {name: resnet18, weights: '/b: #.pth'}",
        "# -> because",
    ]


def test_without_choices_the_file_stays_as_it_is() -> None:
    assert fill(SHIPPED.read_text(), [], "") == SHIPPED.read_text()


def test_choices_that_are_wrong_never_reach_the_file() -> None:
    with pytest.raises(UserError, match=r"the new params\.yaml has 1 mistake"):
        check(fill(SHIPPED.read_text(), [Choice("prepare", "image_size", 4, "too small")], ""))
