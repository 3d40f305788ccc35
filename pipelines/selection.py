"""The stages of some methods, by name: `--only` and `--methods`."""

from collections.abc import Iterable
from pathlib import Path

from pretextbench.errors import UserError, nearest
from pretextbench.params import load

PARAMS = Path("params.yaml")


def targets(methods: Iterable[str], stages: Iterable[str]) -> list[str]:
    """Those of `stages` that belong to one of `methods`, a method or control of the comparison in params.yaml.

    Raises:
        UserError: a method is not part of the comparison, or params.yaml has a mistake.
    """
    compare = load(PARAMS).compare
    known = compare.methods + compare.controls
    items = set[str]()
    for name in methods:
        if name not in known:
            raise UserError(
                f"There is no method {name!r} in this comparison.{nearest(name, known)} Its methods and controls are "
                f"{', '.join(known)}; more are listed under compare.methods in params.yaml."
            )
        items |= {name, *(f"{name}-{seed}" for seed in compare.seeds)}
    return [stage for stage in stages if stage.partition("@")[2] in items]
