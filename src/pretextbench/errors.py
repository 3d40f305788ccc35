"""Errors for people: the value found, the values allowed, the remedy. Any other exception is a bug of the library."""

import difflib
from collections.abc import Iterable

__all__ = ["PluginError", "UserError", "nearest"]


class UserError(Exception):
    """A mistake that the user can correct. Stages print its message, without a traceback, and exit with status 2."""


class PluginError(UserError):
    """A pretext method that cannot be used. Names the method, its target, its distribution and the cause."""


class Diverged(UserError):
    """A training whose numbers are no longer finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ` Did you mean 'rotation'?`, or nothing when no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
