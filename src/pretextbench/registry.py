"""The registry of pretext methods: every entry point of the group `pretextbench.methods` that is installed.

A method that cannot be used is an error, never a warning: a missing contestant is a wrong comparison.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pretextbench.errors import PluginError, nearest

__all__ = ["GROUP", "Plugin", "available", "find", "load", "source_hash"]

GROUP = "pretextbench.methods"
ROW_FIELDS = {"method", "from_scratch"}  # of a section of `methods`: see project/variant.py
OWN_DISTRIBUTION = "pretextbench"  # its controls may see labels


@dataclass(frozen=True)
class Plugin:
    """Metadata of an installed method, known before it is imported."""

    name: str
    target: str  # "module:Class"
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"method {self.name!r} ({self.target}, from {self.distribution} {self.version})"


def _plugin(entry: EntryPoint) -> Plugin:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "?")
    return Plugin(entry.name, entry.value, name, version)


def available(entries: Iterable[EntryPoint] | None = None) -> dict[str, list[Plugin]]:
    """The plugins that claim each name, sorted by name. Reads metadata and imports nothing."""
    claims: dict[str, dict[Plugin, None]] = {}  # a dict, since a path listed twice shows the same claim twice
    for entry in entry_points(group=GROUP) if entries is None else entries:
        claims.setdefault(entry.name, {})[_plugin(entry)] = None
    return {name: list(claims[name]) for name in sorted(claims)}


def find(name: str) -> Plugin:
    """The one plugin that claims `name`.

    Raises:
        PluginError: no installed distribution claims the name, or several do.
    """
    methods = available()
    claims = methods.get(name, [])
    if not claims:
        raise PluginError(
            f"Unknown method {name!r}.{nearest(name, methods)} Installed: {', '.join(methods) or 'none'}. "
            "Install the distribution that provides it, or correct compare.methods in params.yaml."
        )
    if len(claims) > 1:
        owners = " and ".join(f"{p.target} (from {p.distribution} {p.version})" for p in claims)
        raise PluginError(f"Method {name!r} is claimed twice: {owners}. Uninstall one of them.")
    return claims[0]


def load(name: str) -> Any:
    """Import the method called `name`, and nothing else; returns its class, a PretextMethod.

    Raises:
        PluginError: unknown, claimed twice, does not import, is not a PretextMethod, or has another API version.
    """
    from pretextbench.method import (
        API_VERSION,
        PretextMethod,  # a late import, so that find() does not import torch
    )

    plugin = find(name)
    try:
        method = EntryPoint(name, plugin.target, GROUP).load()
    except (Exception, SystemExit) as error:  # any exception of a plugin's import is the plugin's fault
        raise PluginError(f"{plugin} does not import: {type(error).__name__}: {error}") from error
    if not (isinstance(method, type) and issubclass(method, PretextMethod)):
        raise PluginError(
            f"{plugin} is not a PretextMethod but {method!r}. Subclass pretextbench.method.PretextMethod."
        )
    api = getattr(method, "api_version", None)
    if api != API_VERSION:
        raise PluginError(
            f"{plugin} is written for API {api}, but this is API {API_VERSION}. Install a matching version."
        )
    if method.uses_labels and plugin.distribution != OWN_DISTRIBUTION:
        raise PluginError(f"{plugin} asks for labels. A pretext method learns from images alone: remove uses_labels.")
    if taken := sorted(ROW_FIELDS & set(method.Params.model_fields)):
        raise PluginError(f"{plugin} has a parameter {taken[0]!r}, which params.yaml uses for the row. Rename it.")
    return method


def source_hash(plugin: Plugin) -> str:
    """SHA-256 over the Python files that define a method, so that editing one plugin makes that method stale.

    A method of a module hashes the module; one of a package, the package. Finds the files without importing them.
    The library's own controls hash only their own module: an edit elsewhere is the library's, not the method's.
    """
    module = plugin.target.split(":")[0]
    top = module if plugin.distribution == OWN_DISTRIBUTION else module.split(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise PluginError(f"{plugin} does not import: there is no module {top!r}. Install it again.")
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(origin.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
