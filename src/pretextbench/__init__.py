"""Which pretext task should you use on your images? Compare methods, open a comparison, use an encoder.

    import pretextbench as pb

    result = pb.compare("~/photos", methods=["simclr", "vicreg"])
    result.recommendation, result.leaderboard, result.best.embed("~/more-photos")

`compare` works in this process, without DVC, Prefect and MLflow; `open` reads a finished project. The names are
imported when they are used: a plugin that imports `pretextbench.method` does not pay for them.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretextbench.library.contest import compare
    from pretextbench.library.embedder import Embedder, load_encoder
    from pretextbench.library.opened import Result, Trained

__all__ = ["Embedder", "Result", "Trained", "__version__", "compare", "load_encoder", "open"]
__version__ = version("pretextbench")


def open(folder: str = ".") -> "Result":
    """The finished comparison in a folder: a project of the pipeline, or the folder of `compare`.

    Raises:
        UserError: the folder holds none.
    """
    from pathlib import Path

    from pretextbench.library.opened import Result

    return Result(Path(folder).expanduser())


def __getattr__(name: str) -> Any:
    if name == "compare":
        from pretextbench.library import contest

        return contest.compare
    if name in ("Embedder", "load_encoder"):
        from pretextbench.library import embedder

        return getattr(embedder, name)
    if name in ("Result", "Trained"):
        from pretextbench.library import opened

        return getattr(opened, name)
    raise AttributeError(f"module 'pretextbench' has no attribute {name!r}")
