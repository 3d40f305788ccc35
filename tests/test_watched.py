"""What DVC watches is the code that can change a result: the deps of each stage against the closure of its imports."""

from pathlib import Path

import pytest
import yaml

from pretextbench.project import layout
from pretextbench.project.settings import ENCODING, REFERENCES, SECTIONS, TRAINING, VERSIONS, WATCHED
from tests import watched
from tests.checkout import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
JUDGED = [name for name, stage in STAGES.items() if not stage.get("always_changed")]


def command(stage: str) -> str:
    """`pretrain` of `sh stages/run.sh pretrain ${item.method} ${item.seed}`."""
    return str(STAGES[stage]["cmd"].split()[2])


@pytest.mark.parametrize("stage", JUDGED)
def test_every_file_that_can_change_a_result_is_watched(stage: str) -> None:
    known = watched.modules()
    missing = watched.closure(command(stage), known) - watched.watched(STAGES[stage]["deps"], known)
    assert not missing, f"dvc.yaml: add to the deps of {stage}, or list as neutral with a reason: {_names(missing)}"


@pytest.mark.parametrize("stage", JUDGED)
def test_no_file_is_watched_that_cannot_matter(stage: str) -> None:
    known = watched.modules()
    idle = watched.watched(STAGES[stage]["deps"], known) - watched.closure(command(stage), known)
    assert not idle, f"dvc.yaml: an edit of these cannot change what {stage} writes: {_names(idle)}"


@pytest.mark.parametrize("stage", JUDGED)
def test_every_path_that_is_watched_exists(stage: str) -> None:
    code = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "stages/"))]
    assert code
    assert not [dep for dep in code if not (PROJECT / dep).exists()]


@pytest.mark.parametrize(
    "name", [*watched.NEUTRAL, *(name for result in watched.NEUTRAL_IN.values() for name in result)]
)
def test_what_is_called_neutral_exists(name: str) -> None:
    assert name in watched.modules()


def test_a_checkpoint_is_named_by_the_code_that_dvc_watches() -> None:
    deps = [dep.removeprefix("src/pretextbench/") for dep in STAGES["pretrain"]["deps"] if dep.startswith("src/")]
    assert sorted(deps) == sorted(WATCHED)


def test_stages_read_the_sections_that_the_inventory_writes() -> None:
    files = [entry for stage in JUDGED for entry in STAGES[stage].get("params", [])]
    assert all(isinstance(entry, dict) for entry in files), "a stage depends on params.yaml itself"
    read = {section for entry in files for section in entry.get(str(layout.SETTINGS), [])}
    read.remove(f"{REFERENCES}.${{item.method}}")
    assert read == {*SECTIONS, TRAINING, *(f"versions.{stage}" for stage in VERSIONS)}


@pytest.mark.parametrize("stage", JUDGED)
def test_a_stage_depends_on_the_versions_of_what_it_imports(stage: str) -> None:
    """A package that can change the bytes of a stage makes it stale, and no other package does."""
    keys = [key for group in STAGES[stage]["params"] for key in group.get(str(layout.SETTINGS), [])]
    (name,) = (key for key in keys if key.startswith("versions."))
    assert name == f"versions.{command(stage)}"
    networks = {"timm"}  # recorded where encoders are of timm, by the stages that compute with one
    imported, recorded = watched.packages(command(stage), watched.modules()), set(VERSIONS[command(stage)])
    assert imported - networks == recorded
    assert (imported & networks == networks) or command(stage) not in ENCODING


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("from pretextbench.ranking import statistics", "module"),
        ("from pretextbench.ranking.statistics import needs", "name"),
        ("import pretextbench.ranking.statistics", "whole"),
        ("def late():\n    from pretextbench.ranking import statistics", "function"),
    ],
)
def test_an_import_that_nobody_watches_is_seen(tmp_path: Path, line: str, place: str) -> None:
    """The planted fault: the module that trains imports one of the comparison."""
    known = watched.modules()
    planted = tmp_path / f"{place}.py"
    planted.write_text(f'"""A loop."""\n\n{line}\n')
    known["pretextbench.train.loop"] = planted
    missing = watched.closure("pretrain", known) - watched.watched(STAGES["pretrain"]["deps"], known)
    assert known["pretextbench.ranking.statistics"] in missing


def test_an_import_for_type_checkers_is_none(tmp_path: Path) -> None:
    known = watched.modules()
    planted = tmp_path / "types.py"
    planted.write_text('"""A loop."""\n\nif TYPE_CHECKING:\n    from pretextbench.ranking import statistics\n')
    known["pretextbench.train.loop"] = planted
    assert known["pretextbench.ranking.statistics"] not in watched.closure("pretrain", known)


def _names(paths: set[Path]) -> list[str]:
    return sorted(str(path.relative_to(PROJECT)) for path in paths if path.is_relative_to(PROJECT))
