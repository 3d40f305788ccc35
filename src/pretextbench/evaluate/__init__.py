"""Frozen encoders in, numbers and per-example predictions out: one protocol for every row of the comparison."""
