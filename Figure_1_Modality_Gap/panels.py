"""Where the panels of Figure 1 come from: files of one's own, published embeddings, and the four systems run here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Protocol

from util import cli, published
from util.embeddings import Embeddings, Stored
from util.errors import UserError
from util.files import CACHE_VARIABLE, cache_folder, sha256

PUBLISHED, OWN = "published embeddings", "your own"
KINDS = {
    "clip": "image-text",
    "videoclip": "video-text",
    "convirt": "medical image-text",
    "clasp": "protein-text",
}
"""By the keys of ``util.published.SYSTEMS``, in the order of the paper's figure."""


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    Attributes:
        kind: of ``KINDS``, or the name of a file of one's own.
        system: the model's name in print; for a file of one's own the file's.
        weights: "trained", "random" or "given".
        source: what was embedded, or that the embeddings are published or one's own.
        embeddings: both modalities; their source says all that they depend on.
        modalities: which two.
        about: what a record says of it besides the embeddings' source.
    """

    kind: str
    system: str
    weights: str
    source: str
    embeddings: Embeddings | Stored
    modalities: tuple[str, str]
    about: dict = field(default_factory=dict)


class Options(Protocol):
    """What is read of a script's settings, besides what ``live.Options`` names."""

    embeddings: Sequence[Path]
    fetch: bool
    systems: Sequence[str]


def collect(options: Options, left_out: list[str]) -> Iterator[Panel]:
    """Every panel that can be had, one at a time.

    Args:
        options: files of one's own in place of all else; whether to ask the network; which systems to run.
        left_out: receives a line for each panel that could not be made, with the reason.

    Raises:
        UserError: files or data of one's own that cannot be read.
    """
    if options.embeddings:
        yield from own(options.embeddings)
        return
    if options.fetch:
        published.fetch_all(cli.say)
    yield from from_published(left_out)
    if options.systems:
        import live

        for system in options.systems:
            yield from live.panels(system, options, left_out)


def own(paths: Sequence[Path]) -> Iterator[Panel]:
    """A panel for every two modalities of every file; all files are looked at before the first is measured.

    Raises:
        UserError: a file that cannot be read, or is named twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"--embeddings names a file twice: {', '.join(map(str, paths))}")
    unique = len({path.stem for path in paths}) == len(paths)
    for path, stored in [(path, Stored.open(path)) for path in paths]:
        about = {"sha256": sha256(path), "dtype": sorted({str(a.dtype) for a in stored.modalities.values()})}
        for names in combinations(stored.names, 2):
            name = path.stem if unique else str(path)
            name = name if len(stored.names) == 2 else f"{name}: {names[0]}, {names[1]}"
            yield Panel(name, name, "given", OWN, stored, names, about)


def from_published(left_out: list[str]) -> Iterator[Panel]:
    """The authors' eight files as far as they are in the cache; every other is named, those not there in one line."""
    absent = [name for name in published.files() if not (cache_folder() / name).exists()]
    for name, (system, weights) in published.files().items():
        if name in absent:
            continue
        title = published.SYSTEMS[system].title
        try:
            found = published.load(system, weights, fetch=False)
        except UserError as error:
            left_out.append(f"published {title}, {weights} weights: {error}")
        else:
            yield Panel(KINDS[system], title, weights, PUBLISHED, found, (found.names[0], found.names[-1]))
    if absent:
        place = f"get them from {published.address('')} and put them into the folder that {CACHE_VARIABLE} names"
        left_out.append(
            f"published embeddings that are not in the cache: {', '.join(absent)}; `make published` brings them; "
            f"by hand, {place}"
        )
