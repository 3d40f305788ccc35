"""`init`: the file it writes is whole or not at all, and accepted; what was there is kept; what comes next is said."""

import errno
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pretextbench.command import init, init_worker, template
from pretextbench.command.survey import look
from pretextbench.command.template import SHIPPED
from pretextbench.errors import UserError
from pretextbench.params import load
from tests import encoder_files
from tests.command.conftest import Type
from tests.command.photographs import classes, mixed


def test_the_file_is_written_and_what_comes_next_is_said(tmp_path: Path, project: Path, typed: Type) -> None:
    result = typed("init", "--images", classes(tmp_path / "images"), "--no-measure")
    assert (result.code, result.error) == (0, "")
    for part in ("60 images (no splits)", "labels: 2 classes: cat 30, dog 30", "unreadable: none", "pretextbench run"):
        assert part in result.out
    params = load(project / "params.yaml")
    assert params.prepare.path == str(tmp_path / "images")
    assert list(project.glob("params*")) == [project / "params.yaml"]
    assert "Your images are about 40 px; this comparison looks at them at 32 px. `--size 40`" in result.out
    assert "costs about 1.6 times as much." in result.out


def test_the_size_that_is_given_is_kept(tmp_path: Path, project: Path, typed: Type) -> None:
    """Also where the images are smaller, and nothing larger is offered then."""
    result = typed("init", "--images", classes(tmp_path / "images"), "--no-measure", "--size", "96")
    assert (result.code, result.error) == (0, "")
    assert load(project / "params.yaml").prepare.image_size == 96
    assert "by --size; the median of the shorter sides is 40 px" in (project / "params.yaml").read_text()
    assert "--size" not in result.out


@pytest.mark.parametrize("size", ["0", "3", "2000"])
def test_a_size_out_of_range_is_refused_and_nothing_is_written(
    size: str, tmp_path: Path, project: Path, typed: Type
) -> None:
    before = (project / "params.yaml").read_bytes()
    result = typed("init", "--images", classes(tmp_path / "images"), "--no-measure", "--size", size)
    assert result.code == 2
    assert re.search(rf"prepare\.image_size.*{size}", result.error, re.S)
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("side", "usual", "offer"),
    [(32, 300, "`--size 96` (in params.yaml: prepare.image_size) costs about 9 times"), (96, 100, ""), (64, 64, "")],
)
def test_what_a_larger_size_costs(side: int, usual: int, offer: str, capsys: pytest.CaptureFixture[str]) -> None:
    init._print_size(side, usual)
    printed = " ".join(capsys.readouterr().out.split())
    assert (offer in printed) if offer else not printed


def test_what_cannot_be_read_is_named(tmp_path: Path, project: Path, typed: Type) -> None:
    result = typed("init", "--images", mixed(tmp_path / "images"), "--no-measure")
    assert result.code == 0
    for part in ("empty.jpg: empty: zero bytes", "torn.png: ", "labels: none", "1 of 27 files repeat another"):
        assert part in result.out
    assert load(project / "params.yaml").compare.controls == ("random",)


def test_a_question_of_the_layout_is_answered_by_an_option(tmp_path: Path, project: Path, typed: Type) -> None:
    images = tmp_path / "images"
    for patient in ("p0", "p1", "p2"):
        classes(images / patient, 4)
        (images / patient / "cat" / "more.heic").write_bytes(b"")
    before = (project / "params.yaml").read_bytes()
    result = typed("init", "--images", images, "--no-measure")
    assert result.code == 2
    assert "two levels of folders may be the classes" in result.message
    assert "`--layout last` for the last" in result.message
    assert (project / "params.yaml").read_bytes() == before
    result = typed("init", "--images", images, "--no-measure", "--layout", "last")
    assert (result.code, result.error) == (0, "")
    assert "24 images (no splits); 3 images and 0 other files passed over" in result.out
    assert "warning: 3 .heic file(s) are not read" in result.out
    assert load(project / "params.yaml").prepare.layout == "last"


@pytest.mark.parametrize("broken", [0, 3])
def test_too_few_images_are_refused(broken: int, tmp_path: Path, project: Path, typed: Type) -> None:
    images = classes(tmp_path / "images", 6 if broken else 4)
    for i in range(broken):
        (images / "cat" / f"{i}.png").write_bytes(b"")
    result = typed("init", "--images", images, "--no-measure")
    assert result.code == 2
    assert f"holds {9 if broken else 8} images to use; at least 10 are needed" in result.message


def test_an_edited_file_is_refused_or_kept(tmp_path: Path, project: Path, typed: Type) -> None:
    images, mine = classes(tmp_path / "images", 10), b"compare: {seeds: [5]}\n"
    (project / "params.yaml").write_bytes(mine)
    result = typed("init", "--images", images, "--no-measure")
    assert result.code == 2
    assert "Give --force to replace it" in result.message
    assert (project / "params.yaml").read_bytes() == mine
    assert typed("init", "--images", images, "--no-measure", "--force").code == 0
    assert (project / "params.yaml.bak").read_bytes() == mine
    assert typed("init", "--images", images, "--no-measure", "--force").code == 0
    assert (project / "params.yaml.bak").read_bytes() == mine
    assert (project / "params.yaml.bak2").read_bytes() == (project / "params.yaml").read_bytes()


def test_an_absent_file_needs_no_force(tmp_path: Path, project: Path, typed: Type) -> None:
    (project / "params.yaml").unlink()
    assert typed("init", "--images", classes(tmp_path / "images", 10), "--no-measure").code == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_leaves_the_old_file(
    number: int, tmp_path: Path, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    images, before = classes(tmp_path / "images", 10), (project / "params.yaml").read_bytes()
    monkeypatch.setattr("pretextbench.base.files.os.fsync", refuse)
    result = typed("init", "--images", images, "--no-measure")
    assert result.code == 2
    assert f"error: Cannot write {project / 'params.yaml'}: " in result.error
    assert (project / "params.yaml").read_bytes() == before
    assert [path.name for path in project.glob("*params*")] == ["params.yaml"]


def test_ctrl_c_while_looking_leaves_the_old_file(
    tmp_path: Path, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (project / "params.yaml").read_bytes()

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pretextbench.command.survey.look", interrupt)
    result = typed("init", "--images", classes(tmp_path / "images", 10))
    assert (result.code, result.message) == (130, "stopped by Ctrl-C.")
    assert (project / "params.yaml").read_bytes() == before


def test_unknown_profiles_are_told_with_those_there_are(project: Path, typed: Type) -> None:
    result = typed("init", "--images", ".", "--profile", "quik")
    assert result.code == 2
    assert "quick" in result.message


def test_a_path_that_is_not_text(tmp_path: Path, project: Path) -> None:
    with pytest.raises(UserError, match="is not written in UTF-8"):
        init._text(Path("/data/\udcff"))


@pytest.mark.slow
def test_the_estimate_is_of_the_run_that_is_asked_for(tmp_path: Path, project: Path, typed: Type) -> None:
    """Every contestant that trains has its seconds, a control without players none; all stages are in the sum."""
    from pretextbench.command import estimate
    from pretextbench.project import progress

    actual = look(classes(tmp_path / "images"))
    shipped = template.check(SHIPPED.read_text())
    small = shipped.model_copy(update={"pretrain": shipped.pretrain.model_copy(update={"batch_size": 8})})
    cost = estimate.estimate(small, actual.pixels, (48, 60), 2)
    assert set(cost.training) == {"simclr", "colorization", "random", "pixels", "supervised"}
    assert cost.training["random"] == cost.training["pixels"] == 0
    assert min(cost.training[name] for name in ("simclr", "colorization", "supervised")) > 0
    assert cost.seconds == pytest.approx(sum(cost.training.values()) + 5 * cost.evaluation.seconds + cost.overhead)
    weights = encoder_files.write(tmp_path / "mine", side=32)
    result = typed("init", "--images", tmp_path / "images", "--weights", weights)
    assert result.code == 0
    assert re.search(r"Time: about .* expect .* to .*\n  training simclr .*, rotation .*, supervised ", result.out)
    assert re.search(r"reference mine-weights: .* \(resnet10 on 32 px, 60 features\)", result.out)
    assert "Memory: about" in result.out
    assert "Disk: about" in result.out
    kept = progress.estimate(project)
    assert kept["pretrain@rotation-0"] > kept["pretrain-control@pixels-0"] == 0
    assert kept["evaluate-reference@mine-weights"] > 0


@pytest.mark.parametrize(
    ("task", "advice"),
    [("estimate", r"params\.yaml is written: go on with `pretextbench run`"), ("near", "--no-measure")],
)
def test_a_measurement_that_is_ended_from_outside_is_one_message(task: str, advice: str) -> None:
    here, there = multiprocessing.Pipe()
    there.close()
    with pytest.raises(UserError, match=f"ended from outside.* {advice}"):
        init_worker.ask(here, task, ())


def test_the_survey_itself_does_not_import_torch(tmp_path: Path) -> None:
    """The process that measures does, while the folder is read."""
    code = (
        "import sys; from pathlib import Path; from pretextbench.command import choose, init, survey;"
        "survey.look(Path(sys.argv[1]), near=lambda *sample: []); assert 'torch' not in sys.modules"
    )
    images = str(classes(tmp_path / "images"))
    subprocess.run([sys.executable, "-c", code, images], check=True, capture_output=True)
