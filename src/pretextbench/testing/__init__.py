"""How a method is judged, ours and anyone's: named checks, shipped with the library.

    import pytest
    from pretextbench import testing

    @pytest.mark.parametrize("check", testing.CHECKS)
    def test_contract(check):
        testing.CHECKS[check](MyMethod)

Each check raises CheckFailed, which says what was found and what is expected. They run in seconds on a CPU.
"""

from collections.abc import Callable

from pretextbench.testing import checks
from pretextbench.testing.bench import CheckFailed, Method

CHECKS: dict[str, Callable[[Method], None]] = {
    check.__name__: check
    for check in (
        checks.api_version,
        checks.parameters_documented,
        checks.no_labels,
        checks.recipe_is_data,
        checks.loss_well_formed,
        checks.views_untouched,
        checks.gradients_reach,
        checks.seeded,
        checks.resumes,
        checks.learns,
        checks.half_precision,
        checks.speaks,
        checks.batch_of_one,
        checks.quiet,
    )
}

__all__ = ["CHECKS", "CheckFailed", "Method"]
