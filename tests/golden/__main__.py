"""Write the golden loss curve of the methods named: `uv run python -m tests.golden NAME ...`. Say why in the commit."""

import json
import sys
from pathlib import Path

import torch

from pretextbench import registry
from pretextbench.testing.bench import advance, build

torch.set_num_threads(1)  # as in the test: another number of threads adds up in another order
for name in sys.argv[1:]:
    curve = advance(build(registry.load(name), steps=20), 20)
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps([float(f"{x:.7g}") for x in curve]) + "\n")
