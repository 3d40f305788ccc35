"""Tuning: a method's parameters chosen on validation before its trainings, by as many trials as every other method."""
