"""Addresses of servers: without the passwords in them, and whether a server answers."""

import base64
import http.client
import os
import re
import urllib.parse
from typing import NamedTuple

VARIABLES = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL")  # addresses, which may contain a password
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
SHORTEST = 4  # characters of a secret that is searched for in a text: a shorter one occurs in any text


class Address(NamedTuple):
    """An address, and the login that was written into it; empty texts where there is none."""

    bare: str
    user: str
    password: str


def split_login(address: str) -> Address:
    """The address without user and password, and these, decoded."""
    start, mark, text = address.partition("://")
    authority, slash, path = text.partition("/")
    login, at, host = authority.rpartition("@")
    user, _, password = login.partition(":")
    if not (mark and at):
        return Address(address, "", "")
    return Address(start + mark + host + slash + path, urllib.parse.unquote(user), urllib.parse.unquote(password))


def without_secrets(text: str) -> str:
    """A message without the logins and queries of the addresses in it, and without the passwords of the environment."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(://)[^\s'\"]*@", r"\1***@", text)  # up to the next space or quote
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\")]+", r"\1***", text)


def _secrets() -> set[str]:
    known = {os.environ.get(name, "") for name in SECRETS}
    for name in VARIABLES:
        password = split_login(os.environ.get(name, "")).password
        known |= {password, urllib.parse.quote(password, safe="")}
    return {secret for secret in known if len(secret) >= SHORTEST}


def prefect_answers(url: str, timeout: float) -> bool:
    """Ask Prefect's API at `url` once. `http.client`, because urllib would use the user's proxy.

    Raises:
        OSError, http.client.HTTPException: it does not answer; ValueError: the address is none.
    """
    address = split_login(url)
    parts = urllib.parse.urlsplit(address.bare)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError("an address of Prefect's API is http://HOST:PORT/api")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health", headers=_login(address))
        return bool(connection.getresponse().status == http.client.OK)
    finally:
        connection.close()


def _login(address: Address) -> dict[str, str]:
    """The login header that Prefect's client would send."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    pair = os.environ.get("PREFECT_API_AUTH_STRING") or (f"{address.user}:{address.password}" if address.user else "")
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"} if pair else {}
