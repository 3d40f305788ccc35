"""Locks on files that are removed while they are waited for. The other cases: tests/pipelines/test_parts.py."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pretextbench.project.locks import is_held, take


def test_a_lock_on_a_removed_file_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = take(path)
    assert first
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, path, shared=True)
        time.sleep(0.1)
        path.unlink()
        first.close()
        lock = waiting.result(timeout=60)
    assert lock
    assert lock.is_at(path)
    assert is_held(path)
    lock.close()
    assert not is_held(path)
