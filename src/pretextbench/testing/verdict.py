"""What a check says: nothing when the method is sound, else what was found and what to do; and all checks in a row."""

import time
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretextbench.errors import UserError
from pretextbench.method import PretextMethod

Method = type[PretextMethod[Any]]
Check = Callable[[Method], None]
HERE = Path(__file__).parent


class CheckFailed(UserError):
    """A method broke the contract: what was found, and in `hint` what to do."""

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(f"{found}. {hint}.")
        self.found, self.hint = found, hint


class CheckSkipped(unittest.SkipTest):
    """A check cannot be made here, and why; pytest reports it as a skipped test."""


def require(condition: bool, found: str, hint: str) -> None:
    """Raise CheckFailed unless the condition holds; neither text ends with a full stop."""
    if not condition:
        raise CheckFailed(found, hint)


@dataclass(frozen=True)
class Verdict:
    """One check of one method."""

    check: str
    meaning: str  # the rule, in one sentence
    state: Literal["ok", "failed", "skipped"]
    seconds: float
    found: str = ""  # what is wrong, or why the check was skipped
    hint: str = ""  # what to do, of a failure


def meaning(check: Check) -> str:
    """The rule that a check stands for: the first paragraph of its docstring."""
    return " ".join((check.__doc__ or "").strip().split("\n\n")[0].split())


def judge(method: Method, checks: Mapping[str, Check]) -> Iterator[Verdict]:
    """Run the checks in order, each whatever the others said; a verdict as soon as it is there."""
    for name, check in checks.items():
        started = time.perf_counter()
        state, found, hint = _outcome(check, method)
        yield Verdict(name, meaning(check), state, round(time.perf_counter() - started, 3), found, hint)


def _outcome(check: Check, method: Method) -> tuple[Literal["ok", "failed", "skipped"], str, str]:
    try:
        check(method)
    except CheckFailed as error:
        return "failed", error.found, error.hint
    except CheckSkipped as reason:
        return "skipped", str(reason), ""
    except Exception as error:  # whatever a method raises is that method's fault, and the other checks go on
        return "failed", f"{type(error).__name__}: {error}"[:500], _where(error)
    return "ok", "", ""


def _where(error: Exception) -> str:
    """The line to look at: the last one that is neither the kit's nor a library's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    own = [frame for frame in frames if not Path(frame.filename).is_relative_to(HERE.parent)]
    if not own:
        return "Run the method's own tests for the traceback"
    return f"Look at {Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line}"
