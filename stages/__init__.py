"""What dvc.yaml runs: `python -m stages NAME ...`. Thin: read parameters, call the library, write files."""

import pipelines  # noqa: F401  sets the switches of every tool before any of them is imported
