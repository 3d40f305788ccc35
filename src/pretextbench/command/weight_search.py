"""Search for weights that a comparison can use: a name or file that was given, caches, servers of libraries.

Nothing is downloaded, and torch is not imported: whether what is listed here can be used is checked by `weight_check`.
"""

import importlib.util
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretextbench.base.encoder_params import LIBRARIES, SUFFIXES, EncoderParams
from pretextbench.base.names import plain
from pretextbench.command.cost import Profile
from pretextbench.errors import UserError, nearest

NOTHING = "none"  # value of --weights: do without
SECONDS = 3.0  # until a server counts as out of reach
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
CHECKPOINT = re.compile(r".+-[0-9a-f]{8,}\.pth")  # as torchvision's servers name them
SMALL, LARGE = ("resnet18", "resnet50"), ("resnet50", "resnet18")  # preferred, in this order
STARTS = {Profile.standard: "timm/resnet18.a1_in1k", Profile.gpu: "timm/resnet50.a1_in1k"}  # of the server
FOREIGN = {Profile.gpu: ("timm/vit_small_patch14_dinov2.lvd142m",)}  # references of the server

Origin = Literal["option", "cache", "server"]


@dataclass(frozen=True)
class Candidate:
    """Weights that may be usable."""

    name: str  # timm/NAME.TAG, torchvision/NAME, or the path of a file or folder
    origin: Origin
    file: str = ""  # of a cache; its name identifies weights of torchvision


@dataclass(frozen=True)
class Weights:
    """Weights that can be used, with their network."""

    encoder: EncoderParams  # a section of params.yaml
    origin: Origin
    side: int | None = None  # pixels to which the network brings every image; None: it takes any size
    made_for: int | None = None  # pixels of the images of an encoder of this project; None: large ones


@dataclass(frozen=True)
class Search:
    """What to check, and the sentence on what was looked at."""

    candidates: tuple[Candidate, ...] = ()
    looked: str = ""  # why there are no more candidates; empty where one was given


def candidates(text: str | None, network: str | None, profile: Profile) -> Search:
    """What --weights and --encoder name; without them, what is in the caches and on the servers.

    Raises:
        UserError: see `candidate`, or --encoder has no file whose network it could be.
    """
    if text is None and network:
        raise UserError("--encoder is the network of a file of weights: give the file with --weights FILE.")
    if text is None:
        return search(profile)
    chosen = candidate(text, network)
    return Search((chosen,) if chosen else ())


def candidate(text: str, network: str | None) -> Candidate | None:
    """The candidate that --weights names; None for `none`.

    Raises:
        UserError: it is neither a file or folder that exists, nor a name of a library's network.
    """
    if text == NOTHING:
        return None
    path = Path(os.path.abspath(Path(text).expanduser()))
    if re.search("[\ud800-\udfff]", str(path)):
        raise UserError(f"--weights: {plain(path)} is not written in UTF-8, which params.yaml is. Rename or link it.")
    if path.exists():
        if path.is_file() and path.suffix not in SUFFIXES:
            raise UserError(f"--weights: {path} is no file of weights. Allowed: {', '.join(SUFFIXES)}, or a folder.")
        return Candidate(f"{path}{'/' if path.is_dir() else ''}", "option")
    if text.partition("/")[0] in LIBRARIES and text.count("/") == 1 and not text.endswith(SUFFIXES):
        if network:
            raise UserError(f"--encoder names the network of a file, and --weights {text} names one. Leave one out.")
        return Candidate(text, "option")
    hint = (
        f" For weights of a library write timm/{text} or torchvision/{text}." if re.fullmatch(r"[\w.]+", text) else ""
    )
    hint = nearest(text, [NOTHING]) or hint
    raise UserError(f"--weights: there is no file or folder {path}.{hint}")


def search(profile: Profile) -> Search:
    """What the caches and, where they have no weights to start from, the servers can give.

    Takes `SECONDS` at most where a server does not answer.
    """
    here = cached(LARGE if profile in (Profile.gpu, Profile.multi_gpu) else SMALL)
    if here and profile is Profile.quick:
        return Search(tuple(here))
    server, wanted = _server_candidates(profile)
    reason = unreachable(server)
    host = server.split("/")[2]
    places = f"{len(here) or 'no'} files of weights in the caches ({hub_cache()}, {torch_cache()})"
    if reason:
        return Search(tuple(here), f"{places}; {host} cannot be reached ({reason})")
    known = {candidate.name for candidate in here}
    more = (candidate for candidate in wanted if candidate.name not in known)
    return Search((*here, *more), f"{places}; {host} can be reached")


def _server_candidates(profile: Profile) -> tuple[str, list[Candidate]]:
    """The address of a server, and the candidates that it has."""
    profile = Profile.gpu if profile is Profile.multi_gpu else profile
    names = [name for name in (STARTS.get(profile), *FOREIGN.get(profile, ())) if name]
    if importlib.util.find_spec("timm"):
        return hub_address(), [Candidate(name, "server") for name in names]
    start = [re.sub(r"timm/(\w+)\..*", r"torchvision/\1", name) for name in names[:1]]
    return "https://download.pytorch.org/", [Candidate(name, "server") for name in start]


def cached(preferred: tuple[str, ...]) -> list[Candidate]:
    """Weights in the caches of timm and torchvision: the preferred networks first, then small files."""
    sizes = {candidate: path.stat().st_size for candidate, path in _files()}

    def order(candidate: Candidate) -> tuple[int, int]:
        bare = re.split(r"[.-]", candidate.name.partition("/")[2])[0]
        return preferred.index(bare) if bare in preferred else len(preferred), sizes[candidate]

    return sorted(sizes, key=order)


def _files() -> Iterator[tuple[Candidate, Path]]:
    if importlib.util.find_spec("timm"):
        for name in HUB_FILES:
            for path in hub_cache().glob(f"models--timm--*/snapshots/*/{name}"):
                if path.is_file():  # and no link to a download that was broken off
                    yield Candidate("timm/" + path.parts[-4].removeprefix("models--timm--"), "cache"), path
    for path in torch_cache().glob("*.pth"):
        if CHECKPOINT.fullmatch(path.name):
            name = path.stem.rpartition("-")[0]
            yield Candidate(f"torchvision/{name}", "cache", path.name), path


def _cache(*names: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", *names).expanduser()


def hub_cache() -> Path:
    """The folder in which the hub of Hugging Face keeps files, as its library finds it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else _cache("huggingface", "hub")


def torch_cache() -> Path:
    """The folder in which torch keeps files of torchvision, as its library finds it."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else _cache("torch")) / "hub" / "checkpoints"


def hub_address() -> str:
    """The server of the hub: Hugging Face's, or the mirror that its library is set to use."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/") + "/"


def unreachable(address: str, seconds: float = SECONDS) -> str:
    """Why a server cannot be reached; empty where it answers. Only headers are requested, through proxies too."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    answers = [f"no answer in {seconds:g} s"]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds).close()
            answers.append("")
        except urllib.error.HTTPError as error:
            answers.append("" if error.code < 500 else f"it answers {error.code}")  # the server has answered
        except Exception as error:  # of names, sockets, certificates, proxies
            reason = getattr(error, "reason", error)
            answers.append(str(getattr(reason, "strerror", None) or reason) or type(reason).__name__)

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no limit of its own
    asking.start()
    asking.join(seconds)
    return answers[-1]
