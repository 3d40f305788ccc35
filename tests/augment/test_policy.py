"""The policy file: what was looked at is what is trained."""

import json
from pathlib import Path

import kornia
import pytest
import torch

from pretextbench.augment.pipeline import Policy
from pretextbench.errors import UserError
from tests.augment.test_pipeline import FULL
from tests.drawn import SIDE


def test_policy_survives_its_file(tmp_path: Path) -> None:
    policy = Policy("simclr", SIDE, FULL)
    (tmp_path / "policy.json").write_text(policy.to_json())
    assert Policy.read(tmp_path / "policy.json") == policy
    assert json.loads(policy.to_json())["versions"] == {"kornia": kornia.__version__, "torch": torch.__version__}


def test_policy_of_another_kornia_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(Policy("simclr", SIDE, FULL).to_json().replace(kornia.__version__, "0.8.1"))
    with pytest.raises(UserError, match=r"policy.json was frozen under kornia 0\.8\.1, but .* installed.*dvc repro"):
        Policy.read(file)


def test_missing_policy_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no policy at .*policy.json: run the augment stage"):
        Policy.read(tmp_path / "policy.json")
