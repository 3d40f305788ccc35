"""Evaluations in, a ranked and argued answer out: intervals, paired tests, tie groups, cost, words. Needs no torch."""
