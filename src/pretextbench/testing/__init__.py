"""Checks of a method, built in or not: named, and shipped with the library.

    import pytest
    from pretextbench import testing

    @pytest.mark.parametrize("check", testing.CHECKS)
    def test_contract(check):
        testing.CHECKS[check](MyMethod)

Each check raises CheckFailed, which has the finding and the remedy, or CheckSkipped, which says why it cannot be made
here (pytest takes it for a skip). They run in seconds on a CPU. `judge` runs all of them and returns verdicts, as
`pretextbench check` does.
"""

from pretextbench.testing import losses, machines, statement
from pretextbench.testing.bench import Check, CheckFailed, CheckSkipped, Method, Verdict, judge, meaning

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        statement.api_version,
        statement.parameters_documented,
        statement.search_valid,
        statement.described,
        statement.no_labels,
        statement.recipe_is_data,
        statement.views_untouched,
        statement.image_sizes,
        losses.loss_well_formed,
        losses.gradients_reach,
        losses.gradients_stay,
        losses.buffers_staged,
        losses.learns,
        losses.batch_of_one,
        losses.quiet,
        losses.same_seed,
        losses.other_seed,
        losses.resumes,
        machines.half_precision,
        machines.accelerator,
        machines.two_processes,
        statement.show_well_formed,
        statement.health_well_formed,
    )
}

__all__ = ["CHECKS", "CheckFailed", "CheckSkipped", "Method", "Verdict", "judge", "meaning"]
