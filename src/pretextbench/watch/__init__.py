"""Monitoring of a training while it runs, which changes nothing of the training."""

from pretextbench.watch.watching import Watching

__all__ = ["Watching"]
