"""Each input of `cases` is taken for what it means, or refused with words that say what to do."""

from pathlib import Path

import pytest

from tests.data.cases import Case, all_cases, layout, markdown, refused

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    case.check(tmp_path)


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_table_says_what_is_wrong() -> None:
    wrong = layout("wrong", "nothing", "a|b/5", refused("no such words"))
    *_, line = markdown([wrong])
    assert line.startswith("| wrong | nothing | AssertionError: 10 images; train 10; classes a\\|b;")
    assert line.endswith("| NO |")
