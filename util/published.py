"""What the authors published: their numbers, and the eight embedding files behind Figure 1.

The numbers are the project's own data file, ``util/data/paper.json``. The embedding files come from the authors'
repository at a fixed commit into the one cache folder (``MODALITY_GAP_DATA``), each checked against its sha256. A
download goes to a temporary name and gets its own only once its hash is right, so a file under its own name that
was cut short can only have been put there by something else; it is found by its hash, named, and fetched again.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from .embeddings import Embeddings
from .errors import UserError
from .files import CACHE_VARIABLE, cache_folder, sha256
from .records import Comparison

VALUES = Path(__file__).resolve().parent / "data" / "paper.json"
WEIGHTS = ("trained", "random")

CONNECT_SECONDS = 4.0
"""How long a server may take to answer at all, looking up its name included."""
STALL_SECONDS = 15.0
"""How long a download may stand still."""
CHUNK_BYTES = 1 << 16

WRONG = "the file that is there has a wrong sha256 and is not used"


@dataclass(frozen=True)
class System:
    """One of the multi-modal models of Figure 1: its name in print and its modality beside text."""

    title: str
    modality: str


SYSTEMS = {
    "clip": System("CLIP", "image"),
    "convirt": System("ConVIRT", "image"),
    "videoclip": System("VideoCLIP", "video"),
    "clasp": System("CLASP", "amino acid"),
}


class NoConnection(UserError):
    """The server could not be reached at all: asking it for the next file would be no use."""


@cache
def values() -> dict:
    """Contents of ``paper.json``: "numbers" by key, and a section a figure with its settings and where they stand."""
    return json.loads(VALUES.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Number:
    """One published number or claim.

    Attributes:
        key: its name in ``util/data/paper.json``.
        panel: where the paper states it, for instance "Figure 3 (b)".
        quantity: what it is, with its unit.
        value: as published, in the paper's words where it is a claim; None where we measure what the paper does not.
        script: name of the script that measures it.
    """

    key: str
    panel: str
    quantity: str
    value: float | str | None
    script: str


def numbers(prefix: str = "") -> dict[str, Number]:
    """Published numbers and claims whose key begins with ``prefix``, by key, in the paper's order."""
    found = values()["numbers"].items()
    return {key: Number(key, **about) for key, about in found if key.startswith(prefix)}


def compare(
    key: str,
    ours: float | str,
    on: str,
    agrees: bool | None = None,
    note: str = "",
    low: float | None = None,
    high: float | None = None,
    own: bool = False,
) -> Comparison:
    """The published number of ``key`` beside ours; the arguments are those of ``util.records.Comparison``.

    The verdict is "yes" or "no" only with ``own=True``: the paper's own model and data, its published embeddings or
    counts, or an experiment that needs no data. Otherwise a claim is "shown" or "not shown".

    Raises:
        KeyError: ``paper.json`` has no such key.
    """
    number = Number(key, **values()["numbers"][key])
    return Comparison(key, number.panel, number.quantity, number.value, ours, on, agrees, note, low, high, own)


def file_name(system: str, weights: str = "trained") -> str:
    """The name of a published file: ``features_clip.npy``, ``features_clip_random.npy``, and so on.

    Raises:
        UserError: an unknown system or kind of weights.
    """
    for given, valid in ((system, SYSTEMS), (weights, WEIGHTS)):
        if given not in valid:
            raise UserError(f"no published embeddings for {given!r}; choose from {', '.join(valid)}")
    return f"features_{system}{'_random' if weights == 'random' else ''}.npy"


def files() -> dict[str, tuple[str, str]]:
    """The eight file names, each with its system and weights."""
    return {file_name(system, weights): (system, weights) for system in SYSTEMS for weights in WEIGHTS}


def available() -> list[tuple[str, str]]:
    """(system, weights) of the files in the cache folder whose hashes are right; asks no network."""
    return [key for name, key in files().items() if _hash(cache_folder() / name) == _expected(name)]


def fetch(name: str, say: Callable[[str], None] = print) -> Path:
    """The path of one published file in the cache folder, downloaded when it is not there or not the right one.

    Args:
        name: one of ``files()``.
        say: takes the line that names a file with a wrong hash.

    Raises:
        UserError: an unknown name; no connection, a broken download, a wrong hash or a folder that cannot be
            written: one line with the file, where it comes from, the reason and where to put it by hand.
    """
    if name not in files():
        raise UserError(f"{name}: not one of the published files: {', '.join(files())}")
    path, expected = cache_folder() / name, _expected(name)
    found = _hash(path)
    if found == expected:
        return path
    if found:
        say(
            f"{path}: not the published file (its sha256 is {found[:12]}..., not {expected[:12]}...); fetching it again"
        )
    url = address(name)
    if not reachable(url):
        raise NoConnection(_missing(name, _offline(url), found))
    try:
        _download(name, url, expected)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise NoConnection(_missing(name, f"the connection broke off ({_first_line(error)})", found)) from error
    except (requests.RequestException, OSError, ValueError) as error:
        raise UserError(_missing(name, _first_line(error), found)) from error
    return path


_fetch = fetch  # ``load`` has an argument of that name


def fetch_all(say: Callable[[str], None] = print) -> dict[str, str]:
    """Brings all eight files into the cache folder; stops asking after the first connection that fails.

    Args:
        say: takes a line for each file that went wrong, one that names those not asked for, and one at the end.

    Returns:
        the files that are missing, each with the reason; ``available()`` lists those that are there.
    """
    missing: dict[str, str] = {}
    unasked: list[str] = []
    offline = ""
    with tqdm(files(), desc="published embeddings", unit="file", leave=False, disable=None) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            found = _hash(cache_folder() / name)
            if offline and found != _expected(name):
                missing[name] = _missing(name, offline, found)
                unasked.append(f"{name} ({WRONG})" if found else name)
                continue
            try:
                fetch(name, say)
            except UserError as error:
                missing[name] = str(error)
                say(f"[published] {error}")
                if isinstance(error, NoConnection):
                    offline = "not asked for after a connection failed"
    if unasked:
        say(f"[published] {offline}: {', '.join(unasked)}")
    say(f"[published] {len(files()) - len(missing)} of {len(files())} files are in {cache_folder()}")
    return missing


def load(system: str, weights: str = "trained", fetch: bool = True) -> Embeddings:
    """Published embeddings of one system, row i of the first modality paired with row i of the text.

    Args:
        system: one of ``SYSTEMS``; its modality names the first array.
        weights: "trained" or "random".
        fetch: whether to ask the network for a file that is not in the cache folder.

    Returns:
        embeddings whose ``source`` says url, sha256, layout, model, data and caption rule ("last" for CLIP).

    Raises:
        UserError: as ``fetch``; with ``fetch=False`` also a file that is not in the cache, or not the right one.
    """
    name = file_name(system, weights)
    path = cache_folder() / name
    if fetch:
        path = _fetch(name)
    elif (found := _hash(path)) != _expected(name):
        raise UserError(_missing(name, "not in the cache, `make published` brings it", found))
    about = values()["published_embeddings"]
    facts = {"system": system, "weights": weights, **about["systems"][system], "layout": about["layout"]}
    loaded = Embeddings.load(path, first=SYSTEMS[system].modality)
    return replace(
        loaded, source={**loaded.source, **facts, "path": name, "url": address(name), "sha256": _expected(name)}
    )


def address(name: str) -> str:
    """Where a published file comes from."""
    return values()["published_embeddings"]["base_url"] + name


def reachable(url: str) -> bool:
    """Whether a server answers anything at all within ``CONNECT_SECONDS``.

    One deadline for the look-up of its name and all of its addresses together, which a connection's own timeout
    is not: that one counts from anew for each address.
    """
    answers = []

    def ask() -> None:
        try:
            requests.head(url, timeout=CONNECT_SECONDS)
            answers.append(True)
        except requests.RequestException:
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(CONNECT_SECONDS)
    return bool(answers)


def _download(name: str, url: str, expected: str) -> None:
    """Through pooch: to a temporary name in the cache folder, renamed once the hash is right."""
    folder = cache_folder()
    fetcher = pooch.create(path=folder, base_url="", registry={name: f"sha256:{expected}"}, urls={name: url})
    timeout = (CONNECT_SECONDS, STALL_SECONDS)
    fetcher.fetch(name, downloader=pooch.HTTPDownloader(timeout=timeout, chunk_size=CHUNK_BYTES))
    (folder / name).chmod(0o644)


def _expected(name: str) -> str:
    return values()["published_embeddings"]["sha256"][name]


def _hash(path: Path) -> str | None:
    """sha256 of a file, None where there is none that can be read."""
    try:
        return sha256(path)
    except OSError:
        return None


def _missing(name: str, reason: str, found: str | None) -> str:
    path = cache_folder() / name
    wrong = f" ({WRONG})" if found else ""
    where = f"from {address(name)}, put it at {path} ({CACHE_VARIABLE} names the folder)"
    return f"{name}: {reason}{wrong}; to place it by hand, get it {where}"


def _offline(url: str) -> str:
    return f"no connection to {urlsplit(url).netloc}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
