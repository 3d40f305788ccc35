"""params.yaml mutated two hundred times: accepted, or refused by a UserError and nothing else."""

import contextlib
import random
from typing import Any

import pytest

from pretextbench.base.section import parse
from pretextbench.errors import UserError
from pretextbench.params import Params, Pretrain

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 10**30, 0.5, -0.0, 1e300, float("inf"), float("nan")),
    *("", "yes", "auto", "1%", "é\n", "1e-3", b"bytes"),
    *([], [None], [[]], ["simclr"], [0, 0], {}, {"a": 1}, {None: None}, {1: {2: 3}}, {("a", 1): 0}),
]


def places(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in tree.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(value, (*path, key))
    return found


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
            node[draw.choice([key + "s", key[:-1], 7, None])] = node.pop(key, None)
        else:
            node[key] = draw.choice(STRANGE)
    with contextlib.suppress(UserError):  # and nothing else
        assert isinstance(parse(Params, tree, "params.yaml"), Params)


def test_a_mutation_is_seen_by_the_model_it_belongs_to() -> None:
    """So that the test above cannot pass by refusing everything: the unmutated tree is accepted."""
    assert parse(Pretrain, Pretrain().model_dump(mode="json"), "params.yaml") == Pretrain()
