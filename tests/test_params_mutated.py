"""params.yaml mutated hundreds of times: it can work, or it is refused by a UserError and nothing else."""

import contextlib
import json
import random
from typing import Any

import pytest
from ruamel.yaml import YAML

from pretextbench.base.section import parse
from pretextbench.command.template import SHIPPED
from pretextbench.errors import UserError
from pretextbench.params import Params, Pretrain, parse_text
from pretextbench.project import demands
from pretextbench.project.inventory import take_stock
from pretextbench.project.settings import settings

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 10**30, 0.5, -0.0, 1e300, float("inf"), float("nan")),
    *("", "yes", "auto", "1%", "é\n", "1e-3", b"bytes"),
    *([], [None], [[]], ["simclr"], [0, 0], {}, {"a": 1}, {None: None}, {1: {2: 3}}, {("a", 1): 0}),
]


WORDS = [  # values as text, such as people and editors write them
    *("017", "0o17", "12:30:45", "1_000", "1e400", "-0", "+5", "0x1F", "9" * 40, "9" * 5000, ".inf", "1e-320", "5e-1"),
    *("yes", "off", "~", "", "<<", "=", "!!set {a}", "!!binary aGk=", "!!python/name:os.system", "2001-01-01"),
    *('"\\0"', '"\\ud800"', '"\\x1b[31m"', "\u202e", "'", "[", "{", "- 1", "&a [*a]", "&m {simclr: *m}", "*gone", "%"),
    *("{simclr: {temperature: *t}}", "[simclr, ~]", "[[]]", "{? [a] : 1}", "{<<: 3}", "{<<: [{a: 1}]}", "{a: 1, a: 2}"),
]


def places(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    result = []
    for key, value in tree.items():
        result.append((*path, key))
        if isinstance(value, dict):
            result += places(value, (*path, key))
    return result


@pytest.mark.parametrize("seed", range(200))
def test_a_mutated_file_is_accepted_or_refused_in_words(seed: int) -> None:
    draw = random.Random(seed)
    tree = Params(methods={"simclr": {"temperature": 0.1}}).model_dump(mode="json")
    for _ in range(draw.randint(1, 4)):
        *parents, key = draw.choice(places(tree))
        node = tree
        for parent in parents:
            node = node[parent] if isinstance(node.get(parent), dict) else node
        action = draw.choice(["change", "drop", "rename"])
        if action == "drop":
            node.pop(key, None)
        elif action == "rename":
            name = str(key)  # a place that an earlier turn made may have the key 7 or None
            node[draw.choice([name + "s", name[:-1], 7, None])] = node.pop(key, None)
        else:
            node[key] = draw.choice(STRANGE)
    with contextlib.suppress(UserError):  # and nothing else
        assert isinstance(parse(Params, tree, "params.yaml"), Params)


def test_a_mutation_is_seen_by_the_model_it_belongs_to() -> None:
    """So that the test above cannot pass by refusing everything: the unmutated tree is accepted."""
    assert parse(Pretrain, Pretrain().model_dump(mode="json"), "params.yaml") == Pretrain()


@pytest.fixture(scope="module")
def shipped() -> list[str]:
    """The lines of the parameter file that the project ships."""
    return SHIPPED.read_text().splitlines()


def mutated(lines: list[str], draw: random.Random) -> str:
    """The text with one or two of its values replaced, lines doubled or indented."""
    lines = list(lines)
    for _ in range(draw.randint(1, 2)):
        number = draw.randrange(len(lines))
        key, colon, _ = lines[number].partition(": ")
        action = draw.choice(["value", "value", "value", "double", "indent"])
        if action == "double":
            lines.insert(number, lines[number])
        elif action == "indent":
            lines[number] = " " * draw.randint(1, 3) + lines[number]
        elif colon:
            lines[number] = f"{key}: {draw.choice(WORDS)}"
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_a_mutated_text_is_accepted_or_refused_in_words(shipped: list[str]) -> None:
    """No control character reaches the terminal; what is accepted suits the methods, and DVC reads the same."""
    known: dict[str, Any] = {}
    accepted, unprintable = 0, list[str]()
    for seed in range(160):
        text = mutated(shipped, random.Random(seed))
        try:
            params = parse_text(text, "params.yaml")
            entries = take_stock(params, known)
            demands.refuse(demands.of_parameters(params, entries))
        except UserError as error:
            unprintable += [line for line in str(error).splitlines() if not line.isprintable()]
            continue
        known |= {entry["fingerprint"]: entry for entry in entries.values()}
        json.dumps(settings(text, params))
        assert YAML(typ="safe").load(text)["compare"]["seeds"] == list(params.compare.seeds), seed  # as DVC takes them
        accepted += 1
    assert not unprintable
    assert 5 < accepted < 100, accepted
