"""Address and state of the MLflow store, without importing MLflow or changing the store."""

import configparser
import contextlib
import importlib.util
import os
import re
import sqlite3
import urllib.parse
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pretextbench.project.addresses import split_login, without_secrets

TIMEOUT = 5.0  # seconds for a server
URI = "MLFLOW_TRACKING_URI"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"  # variables that MLflow reads
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
ALLOWED = (
    f"{URI} may be http:// or https:// of an MLflow server, sqlite:///PATH, postgresql://, mysql:// or mssql:// of a "
    "database, or databricks; without it the record is in mlflow.db"
)


@dataclass(frozen=True)
class Store:
    """State of the store of a project."""

    address: str  # without user and password
    exists: bool
    problem: str = ""  # empty where it can be used
    remedy: str = ""  # advice on the problem


def address(root: Path) -> str:
    """Address of the store of the project at `root`: MLFLOW_TRACKING_URI, else its mlflow.db (absolute path)."""
    return os.environ.get(URI) or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def file_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for another kind of address."""
    place = uri.partition("?")[0].removeprefix("sqlite:///")  # what follows are options of the connection
    return Path(urllib.parse.unquote(place)) if uri.startswith("sqlite:///") else None


def file_number(uri: str) -> tuple[int, int]:
    """Device and inode of the file of a SQLite store; zeros if there is none, or for another kind of address."""
    path = file_path(uri)
    if path is None or not os.path.exists(path):
        return 0, 0
    status = path.stat()
    return status.st_dev, status.st_ino


def without_login(uri: str) -> str:
    """The address of a server without user and password, which go into the variables that MLflow reads.

    For the processes that import MLflow: it prints addresses.
    """
    login = split_login(uri)
    if not uri.startswith(("http://", "https://")) or not login.password:
        return uri
    os.environ |= {USER: login.user, PASSWORD: login.password}
    return login.bare


def refusal(uri: str) -> str:
    """Why MLflow would refuse an address of this kind, as the end of a sentence; empty if it would not."""
    match = re.match(r"([A-Za-z][\w.-]*)(\+\w+)?:(/*)", uri)
    scheme = match[1].lower() if match else ""
    known = {*DATABASES, "http", "https", "databricks", *(p.name for p in entry_points(group="mlflow.tracking_store"))}
    if match and scheme == "sqlite" and len(match[3]) < 3:
        return "is no address of SQLite: sqlite:///PATH has three slashes"
    if scheme in known or uri == "databricks":
        return ""
    if scheme in {"", "file"} and uri not in {"uc", "databricks-uc"}:
        allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in {"true", "1"}
        return "" if allowed else "is a folder, and this MLflow keeps no records in folders"
    return f"is of a kind that MLflow does not know ({scheme or uri})"


def check(root: Path) -> Store:
    """The state of the store: whether MLflow accepts the address, the store can be opened, and has MLflow's schema."""
    uri = address(root)
    if refused := refusal(uri):
        return Store(without_secrets(uri), True, refused, ALLOWED)
    if path := file_path(uri):
        return _file(path)
    if uri.startswith(("http://", "https://")):
        return _server(uri)
    return _database(uri) if uri.startswith(DATABASES) else Store(without_secrets(uri), True)


def _database(uri: str) -> Store:
    """Only MLflow can open another database, but its driver must be installed."""
    from sqlalchemy.engine import make_url  # comes with MLflow
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    shown = without_secrets(uri)
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        return Store(shown, True, f"needs a driver that is not installed: {error.name}", "install it with `uv add`")
    except (ArgumentError, NoSuchModuleError) as error:
        return Store(shown, True, f"is no address of a database: {without_secrets(str(error))}", ALLOWED)
    return Store(shown, True)


def _file(path: Path) -> Store:
    if not os.path.exists(path):  # not `Path.exists`, which raises where a folder above cannot be entered
        above = next(folder for folder in path.absolute().parents if os.path.exists(folder))
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            return Store(str(path), exists=False)
        return Store(str(path), False, f"cannot be made: you cannot write {above}", f"correct {URI}, or unset it")
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
        problem = f"has schema {', '.join(schemas)}, this MLflow wants {wanted}"
        return Store(str(path), True, problem, f"`{upgrade(f'sqlite:///{path}')}`")
    return Store(str(path), True)


def upgrade(uri: str) -> str:
    """The command that brings a store to the schema of the installed MLflow."""
    return f"uv run mlflow db upgrade {without_secrets(uri)}"


def other_schema(uri: str) -> str:
    """One sentence about a SQLite store of another MLflow, with the command that mends it; empty for other stores."""
    path, wanted = file_path(uri), schema()
    if path is None or wanted is None:
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as base:
            schemas = [row[0] for row in base.execute("select version_num from alembic_version")]
    except sqlite3.Error:
        return ""
    if schemas == [wanted]:
        return ""
    problem = f"{path} is of another MLflow: it has schema {', '.join(schemas)}, not {wanted}"
    if set(schemas) <= _migrations()["revision"]:
        return f"{problem}. Copy the file, then run `{upgrade(uri)}`."
    return f"{problem}. It is newer: install that MLflow, or move the file away, and the next run starts a new one."


def schema() -> str | None:
    """The schema that the installed MLflow expects: its last database migration. None if that is unclear."""
    ids = _migrations()
    heads = ids["revision"] - ids["down_revision"]
    return heads.pop() if len(heads) == 1 else None


def _migrations() -> dict[str, set[str]]:
    """The schemas that the installed MLflow knows (`revision`), and those that others follow (`down_revision`)."""
    spec = importlib.util.find_spec("mlflow")
    folder = Path(spec.origin if spec and spec.origin else "none").parent / "store" / "db_migrations" / "versions"
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return {name: set(re.findall(rf"^{name}\s*=\s*[\"'](\w+)", text, re.M)) for name in ("revision", "down_revision")}


def _server(uri: str) -> Store:
    """Ask a server as MLflow does: the same login, proxy and certificates."""
    import requests  # comes with MLflow; half a second, which most commands need not wait

    shown, bare = without_secrets(uri), split_login(uri).bare.rstrip("/")
    try:
        question = f"{bare}/api/2.0/mlflow/experiments/search"
        answer = requests.get(question, params={"max_results": "1"}, timeout=TIMEOUT, **_request_options(uri))
    except (OSError, ValueError) as error:  # those of requests too
        reason = without_secrets(str(error).rpartition(": ")[2].rstrip("\"')")) or type(error).__name__
        remedy = f"start it, or correct {URI}; records are kept meanwhile and written later"
        return Store(shown, True, f"does not answer: {reason}", remedy)
    status = answer.status_code
    if status in {401, 403}:
        own = os.environ.get("MLFLOW_TRACKING_AUTH") or os.environ.get("MLFLOW_TRACKING_AWS_SIGV4")
        problem = f"wants another user or password (status {status})"
        return Store(shown, True) if own else Store(shown, True, problem, f"set {USER} and {PASSWORD}")
    if status != requests.codes.ok:
        return Store(shown, True, f"answers with status {status}", f"look at its log, or correct {URI}")
    if "json" not in answer.headers.get("content-type", ""):
        return Store(shown, True, "answers, but is no MLflow server", f"correct {URI}")
    return Store(shown, True)


def _request_options(uri: str) -> dict[str, Any]:
    """Login and certificates, from the variables and the file that MLflow reads them from."""
    env, login = os.environ, split_login(uri)
    file = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error):
        file.read(Path("~/.mlflow/credentials").expanduser())
    saved = (file.get("mlflow", name.lower(), fallback="") for name in (USER, PASSWORD))
    user, password = (env.get(name) or value for name, value in zip((USER, PASSWORD), saved, strict=True))
    if login.password:
        user, password = login.user, login.password
    token = env.get("MLFLOW_TRACKING_TOKEN", "")
    insecure = env.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}
    return {
        "auth": (user, password) if user and password else None,
        "headers": {"Authorization": f"Bearer {token}"} if token and not (user and password) else {},
        "verify": False if insecure else env.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
        "cert": env.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
    }
