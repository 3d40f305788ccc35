"""What DVC has committed, asked of dvc.lock alone: importing DVC would cost a stage a second."""

import hashlib
import json
from pathlib import Path

import yaml

LOCK = Path("dvc.lock")


def committed(output: Path, content: Path, lock: Path = LOCK) -> bool:
    """Whether `lock` says that `output` holds just the files that lie in the folder `content`."""
    try:
        stages = yaml.safe_load(lock.read_bytes())["stages"].values()
        found = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):  # none, or one that a kill has torn
        return False
    return found.get(output.as_posix()) == _folder_md5(content)


def _folder_md5(folder: Path) -> str:
    """DVC's name for a folder of files: the MD5 of the JSON of their names and MD5 sums."""
    names = sorted(path.name for path in folder.iterdir())
    sums = [hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in names]
    entries = [{"md5": md5, "relpath": name} for md5, name in zip(sums, names, strict=True)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
