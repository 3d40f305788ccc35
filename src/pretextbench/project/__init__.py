"""Where the things of a project lie, and which process holds them. Under stages, pipelines and commands."""
