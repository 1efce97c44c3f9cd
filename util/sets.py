"""Several sets of embeddings in one call: files of one modality each make one, and of three modalities every two."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from .embeddings import Embeddings, Stored, remarked
from .files import named_path


def open_sets(paths: Sequence, columns: Mapping[str, str] | None = None) -> dict[str, Stored]:
    """Files and folders as sets by name: those of one modality each are one set, every other is its own.

    Sets are named by the stem of their file, or by its path where two stems are the same.
    """
    opened = Stored.opened(paths, columns)
    alone = {given: one for given, one in opened.items() if len(one.names) == 1 or named_path(given)[0]}
    opened = {given: one for given, one in opened.items() if given not in alone}
    if alone:
        opened["+".join(alone)] = Stored.joined(alone)
    stems = {
        given: "+".join(Path(path).stem for path in one.source["path"].split(" + ")) for given, one in opened.items()
    }
    unique = len({*stems.values()}) == len(stems)
    return {stems[given] if unique else given: one for given, one in opened.items()}


def duos(sets: Mapping[str, Stored]) -> dict[str, Stored]:
    """Sets of two modalities: of three, every two of them are a set. One modality alone is refused."""
    found: dict[str, Stored] = {}
    for name, one in sets.items():
        several = list(combinations(one.names, 2)) if len(one.names) > 1 else [one.two()]
        for names in several:
            found[name if len(several) == 1 else f"{name}: {names[0]}, {names[1]}"] = one.duo(names)
    return found


def load_sets(paths: Sequence, columns: Mapping[str, str] | None = None, two: bool = True) -> dict[str, Embeddings]:
    """``open_sets``, or the ``duos`` of them, with rows made unit-norm and the hashes of their files in ``source``."""
    sets = open_sets(paths, columns)
    sets = duos(sets) if two else sets
    return {name: remarked(replace(one, source={**one.source, **one.digest()})) for name, one in sets.items()}
