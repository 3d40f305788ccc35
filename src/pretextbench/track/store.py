"""Address and state of the MLflow store, without importing MLflow or changing the store."""

import contextlib
import http.client
import importlib.util
import os
import re
import sqlite3
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from pretextbench.track.records import without_secrets

TIMEOUT = 5.0  # seconds for a server


@dataclass(frozen=True)
class Store:
    """State of the store of a project."""

    address: str  # without user and password
    exists: bool
    problem: str = ""  # empty where it can be used
    remedy: str = ""  # advice on the problem


def address(root: Path) -> str:
    """Address of the store of the project at `root`: MLFLOW_TRACKING_URI, else its mlflow.db (absolute path)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def check(root: Path) -> Store:
    """The state of the store: whether it can be opened and has the schema of the installed MLflow."""
    uri = address(root)
    if uri.startswith("sqlite:///"):
        return _file(Path(urllib.parse.unquote(uri.removeprefix("sqlite:///"))))
    if uri.startswith(("http://", "https://")):
        return _server(uri)
    return Store(without_secrets(uri), True)  # another database, or files: only MLflow can check them


def _file(path: Path) -> Store:
    if not path.exists():
        return Store(str(path), exists=False)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as base:
            schemas = [row[0] for row in base.execute("select version_num from alembic_version")]
            broken = base.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        away = f"move it away (`mv {path.name} {path.name}.broken`): the next run starts a new one"
        return Store(str(path), True, f"cannot be opened as MLflow's: {error}", away)
    if broken != "ok":
        return Store(str(path), True, f"is damaged: {broken}", "move it away: the next run starts a new one")
    wanted = schema()
    if wanted and schemas != [wanted]:
        upgrade = f"uv run mlflow db upgrade sqlite:///{path}"
        return Store(str(path), True, f"has schema {', '.join(schemas)}, this MLflow wants {wanted}", f"`{upgrade}`")
    return Store(str(path), True)


def schema() -> str | None:
    """The schema that the installed MLflow expects: its last database migration. None if that is unclear."""
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "store" / "db_migrations" / "versions"
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    named = {word: _all(word, texts) for word in ("revision", "down_revision")}
    heads = named["revision"] - named["down_revision"]
    return heads.pop() if len(heads) == 1 else None


def _all(word: str, texts: list[str]) -> set[str]:
    pattern = re.compile(rf"^{word}\s*=\s*[\"'](\w+)[\"']", re.M)
    return {name for text in texts for name in pattern.findall(text)}


def _server(uri: str) -> Store:
    shown, parts = without_secrets(uri), urllib.parse.urlsplit(uri)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        kept = "start it, or correct MLFLOW_TRACKING_URI; records are kept meanwhile and written later"
        return Store(shown, True, f"does not answer: {error or type(error).__name__}", kept)
    finally:
        connection.close()
    if status == http.client.OK:
        return Store(shown, True)
    return Store(shown, True, f"answers with status {status}", "look at its log, or correct MLFLOW_TRACKING_URI")
