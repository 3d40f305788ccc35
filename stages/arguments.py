"""The two words that the per-run stages take: a method and a seed."""

import argparse
import re

from pretextbench.params import NAME


def method_and_seed(stage: str, doc: str | None) -> tuple[str, int]:
    """Read METHOD and SEED from the command line; a mistake prints the usage and exits with status 2."""
    parser = argparse.ArgumentParser(prog=f"python -m stages {stage}", description=(doc or stage).splitlines()[0])
    parser.add_argument("method", help="entry-point name of a method or control")
    parser.add_argument("seed", type=int, help="seed of weights, order and augmentation")
    words = parser.parse_args()
    if not re.fullmatch(NAME, words.method):  # it becomes a folder
        parser.error(f"METHOD is an entry-point name such as context-encoder, found {words.method!r}")
    return words.method, words.seed
