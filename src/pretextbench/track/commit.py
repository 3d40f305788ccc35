"""The commit that a result was made at."""

import subprocess
from pathlib import Path


def git_commit(root: Path) -> str | None:
    """The commit that is checked out at `root`; None without git or outside of a repository."""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
