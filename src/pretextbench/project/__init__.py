"""Paths, locks, inventory and options of a project, for stages, pipelines and commands."""
