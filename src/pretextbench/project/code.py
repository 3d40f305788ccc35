"""The library's code that decides the weights of an encoder, as one number.

Light: a stage reads it before it imports that code, so that an edit in the moments between cannot go unseen.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pretextbench import registry

LIBRARY = Path(registry.__file__).parent
WATCHED = (  # what decides the weights: dvc.yaml watches the same for `pretrain`, and a test holds both to the imports
    "augment",
    "base/seed.py",
    "data/prepared.py",
    "distributed.py",
    "encoder.py",
    "encoders",
    "measures.py",
    "method.py",
    "parts",
    "recipe.py",
    "train",
)


@cache
def code_digest() -> str:
    """SHA-256 over names and contents of the files that WATCHED lists."""
    digest = hashlib.sha256()
    for path in sorted(file for name in WATCHED for file in _files(LIBRARY / name)):
        digest.update(path.relative_to(LIBRARY).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from path.rglob("*.py") if path.is_dir() else (path,)
