"""The authors' published numbers, ``util/data/paper.json``, and the eight embedding files behind Figure 1.

The files come from the authors' repository at a fixed commit. Their sha256 are checked whenever they are used.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from tqdm import tqdm

from . import NoConnection, UserError, cli, reason
from .embeddings import Embeddings
from .files import CONNECT_SECONDS, PACKAGE, cache_folder, reachable, sha256
from .records import Comparison

WEIGHTS = ("trained", "random")
STALL_SECONDS = 15.0
"""How long a download may stand still."""
WRONG = "wrong sha256, not used"
PRINTED = "published numbers alone"
"""Begins the data of a comparison that needs no run: counts, derivations and checks of what is in print."""


@cache
def values() -> dict:
    """Contents of ``paper.json``: "numbers" by key, and a section a figure with its settings and where they stand."""
    return json.loads((PACKAGE / "data" / "paper.json").read_text(encoding="utf-8"))


EMBEDDINGS = values()["published_embeddings"]
"""Where the eight files are, their hashes by name, and their layout."""
SYSTEMS = EMBEDDINGS["systems"]
"""The multi-modal models of Figure 1: each one's title in print, its modality beside text, and where it comes from."""


@dataclass(frozen=True)
class Rule:
    """How ours and a published value are judged: what has to hold for "yes" or "shown", and why at that tolerance.

    ``tolerance`` is the largest difference of a number from the published one, or the threshold of a claim.
    ``refuses`` is a difference that it has to tell: that of another published model, shift or setting, or two units of
    the last digit. With ``derivation`` the paper's own mathematics decides. Those judged ``together`` count once.
    """

    says: str
    reason: str
    tolerance: float | None = None
    derivation: bool = False
    refuses: float | None = None
    together: bool = False

    @property
    def said(self) -> str:
        return f"{self.says.format(tolerance=self.tolerance)} ({self.reason})"


@dataclass(frozen=True)
class Number:
    """One published number or claim of ``paper.json``, stated in ``panel`` and measured by ``script``.

    ``value`` is in the paper's words where it is a claim, and None where the paper says nothing of it.
    """

    key: str
    panel: str
    quantity: str
    value: float | str | None
    script: str
    rule: str

    @property
    def judged_by(self) -> Rule:
        return Rule(**values()["rules"][self.rule])


def numbers(prefix: str = "") -> dict[str, Number]:
    """Published numbers and claims whose key begins with ``prefix``, by key, in the paper's order."""
    found = values()["numbers"].items()
    return {key: Number(key, **about) for key, about in found if key.startswith(prefix)}


def compare(key: str, ours: float | str, on: str, *verdict, judge: bool = True, **more) -> Comparison:
    """The published number of ``key`` beside ours; further arguments are those of ``util.records.Comparison``.

    ``own=True`` says: of the paper's own model and data, its published embeddings or counts, or an experiment that
    needs no data. A number with a tolerance is then judged here, by that tolerance, unless ``judge`` is False.
    ``KeyError``: no such key. ``ValueError``: a number is judged on another model or data.
    """
    number = Number(key, **values()["numbers"][key])
    made = Comparison(key, number.panel, number.quantity, number.value, ours, on, *verdict, **more)
    numeric = not isinstance(number.value, str | None)
    if numeric and made.agrees is not None and not made.own:
        raise ValueError(f"{key}: a number is judged on the paper's own model and data alone")
    if numeric and made.own and judge and made.agrees is None and number.judged_by.tolerance is not None:
        return replace(made, agrees=bool(abs(ours - number.value) <= number.judged_by.tolerance))
    return made


def files() -> dict[str, tuple[str, str]]:
    """Names of the eight files, ``features_clip_random.npy`` and so on, each with its system and weights."""
    ends = {"trained": "", "random": "_random"}
    return {f"features_{system}{ends[weights]}.npy": (system, weights) for system, weights in product(SYSTEMS, WEIGHTS)}


def available() -> list[tuple[str, str]]:
    """(system, weights) of the files in the cache folder whose hashes are right; asks no network."""
    return [key for name, key in files().items() if _is_whole(name)]


def fetch(name: str) -> Path:
    """The path of one of ``files()`` in the cache folder, downloaded unless the right one is there.

    ``NoConnection``: the server cannot be reached, or stands still. Any other failure is a ``UserError`` too.
    """
    import pooch
    import requests

    path = cache_folder() / name
    if _is_whole(name):
        return path
    if path.exists():
        cli.say(f"[published] {path}: {WRONG}; fetching it again")
    url = EMBEDDINGS["base_url"] + name
    if not reachable(url):
        raise NoConnection(f"{name}: no network; {_by_hand()}")
    pooch.get_logger().setLevel("WARNING")
    loader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, STALL_SECONDS))
    try:
        pooch.retrieve(url, f"sha256:{EMBEDDINGS['sha256'][name]}", name, path.parent, downloader=loader)
        path.chmod(0o644)
    except (requests.RequestException, OSError, ValueError) as error:
        lost = isinstance(error, requests.ConnectionError | requests.Timeout)
        told = f"the connection broke off ({reason(error)})" if lost else reason(error)
        raise (NoConnection if lost else UserError)(f"{name}: {told}; {_by_hand()}") from error
    return path


def fetch_all() -> list[str]:
    """Brings all eight files into the cache folder, says how that went, and gives the names of those it lacks."""
    offline = ""
    for name in tqdm(files(), desc="published embeddings", unit="file", leave=False, disable=None):
        try:
            fetch(name)
        except NoConnection:
            offline = "no network: "
            break
        except UserError as error:
            cli.say(f"[published] {error}")
    missing = [name for name in files() if not _is_whole(name)]
    wrong = ", ".join(name for name in missing if (cache_folder() / name).exists())
    lacking = f"{len(missing)} of the 8 published files are not here{f' ({wrong}: {WRONG})' if wrong else ''}"
    whole = f"all 8 published files are in {cache_folder()}"
    cli.say(f"[published] {f'{offline}{lacking}; {_by_hand()}' if missing else whole}")
    return missing


def load(system: str, weights: str = "trained") -> Embeddings:
    """Published embeddings of one of ``SYSTEMS``, row i of its modality paired with row i of the text.

    Their ``source`` says url, sha256, layout, model, data, caption rule ("last" for CLIP), ``embedded_in`` (the
    network's mode) and ``random_in`` (which layers are random where the weights are). No network is asked.
    """
    name = {key: name for name, key in files().items()}.get((system, weights))
    if name is None:
        known = f"{', '.join(SYSTEMS)}, with weights {' or '.join(WEIGHTS)}"
        raise UserError(f"no published embeddings for {system!r} with weights {weights!r}; choose from {known}")
    path = cache_folder() / name
    if not _is_whole(name):
        raise UserError(f"{name}: {WRONG if path.exists() else 'not in the cache'}; {_by_hand()}")
    told = {key: value for key, value in SYSTEMS[system].items() if key not in ("title", "modality")}
    facts = {"system": system, "weights": weights, **told, "layout": EMBEDDINGS["layout"]}
    facts |= {"path": name, "url": EMBEDDINGS["base_url"] + name, "sha256": EMBEDDINGS["sha256"][name]}
    stored = Embeddings.load(path, unit=False)
    named = dict(zip((SYSTEMS[system]["modality"], "text"), stored.modalities.values(), strict=True))
    return replace(stored, modalities=named, source=stored.source | facts).remarked()  # whose path is the name alone


def _is_whole(name: str) -> bool:
    """Whether a file is in the cache folder, can be read, and has its published hash."""
    try:
        return sha256(cache_folder() / name) == EMBEDDINGS["sha256"][name]
    except OSError:
        return False


def _by_hand() -> str:
    place = f"put what is missing into {cache_folder()} by hand (`modality-gap published --help` says from where)"
    return f"run `make published` again, or {place}"
