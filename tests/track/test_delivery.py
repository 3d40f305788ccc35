"""Delivery tries again after an error that may pass, for a limited time, and never after a mistake."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pretextbench.track import Record
from tests.clock import Clock

pytestmark = pytest.mark.slow  # imports MLflow


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, without waiting."""
    from pretextbench.track import delivery

    clock = Clock()
    monkeypatch.setattr(delivery, "time", clock)
    return clock.waits


def test_a_trouble_that_may_pass_is_tried_again_and_a_mistake_is_not(waits: list[float]) -> None:
    import requests
    from mlflow.exceptions import MlflowException

    from pretextbench.track import delivery

    locked = MlflowException("(sqlite3.OperationalError) database is locked")
    refused = MlflowException("API request to http://x failed with exception: Connection refused")
    for trouble in (locked, refused, requests.ConnectionError("reset"), TimeoutError()):
        waits.clear()
        assert delivery.deliver(_Failing([trouble, trouble]), Record("k", "n"), {})[0] == "id"  # type: ignore[arg-type]
        assert waits == list(delivery.WAITS)
    for trouble in (MlflowException("no", 1000), ValueError("no"), FileNotFoundError("no")):
        waits.clear()
        with pytest.raises(type(trouble)):
            delivery.deliver(_Failing([trouble]), Record("k", "n"), {})  # type: ignore[arg-type]
        assert not waits
    waits.append(0.0)
    slow = _Failing([TimeoutError()] * 9, lambda: waits.append(4.0))
    with pytest.raises(TimeoutError):
        delivery.deliver(slow, Record("k", "n"), {})  # type: ignore[arg-type]
    assert waits == [0.0, 4.0, 1.0, 4.0]  # a store that takes long to fail is not asked a third time


class _Failing:
    """A writer that fails with each of `troubles`, and then succeeds."""

    def __init__(self, troubles: list[Exception], meanwhile: Callable[[], object] = list) -> None:
        self.troubles, self.meanwhile = iter(troubles), meanwhile

    def write(self, subject: Record) -> str:
        self.meanwhile()
        for trouble in self.troubles:
            raise trouble
        return "id"


@pytest.mark.usefixtures("empty_store")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # SQLAlchemy of MLflow
def test_a_store_of_another_schema_is_explained_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is MLflow's own."""
    import mlflow
    from mlflow.tracking import MlflowClient

    from pretextbench.track import delivery

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as base, base:
        base.execute("update alembic_version set version_num = 'cbc13b556ace'")
    with pytest.raises(mlflow.MlflowException) as caught:
        MlflowClient(uri).search_experiments()
    line = delivery.explain(caught.value)
    assert line.startswith(f"{tmp_path}/mlflow.db is of another MLflow: it has schema cbc13b556ace, not ")
    assert line.endswith(f"run `uv run mlflow db upgrade {uri}`")
    assert not delivery.transient(caught.value), "other records of the outbox are tried"
