"""One thread, as in the tests of the comparison."""

from tests.ranking.conftest import one_thread

__all__ = ["one_thread"]
