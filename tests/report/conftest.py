"""One thread, as in the tests of the comparison."""

from tests.compare.conftest import one_thread

__all__ = ["one_thread"]
