"""All numbers of a gap at once: what stands at each panel of Figure 1, and what ``modality-gap measure`` prints.

A measure is one function and one entry of ``CARD``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from .embeddings import Embeddings
from .errors import UserError
from .numerics.arrays import as_matrix, to_numpy
from .numerics.moments import PairMoments, moments, pair_moments
from .samples import among, sample, scores, separability, uniformity

if TYPE_CHECKING:
    import pandas as pd

MOST = 2000
"""Rows of each modality from which a sample is taken: at 512 columns five fits take about a second."""


@dataclass(frozen=True, repr=False)
class Measures:
    """The card: every number of one set of embeddings. It prints as a table, in a notebook too.

    Attributes:
        rows: a mapping for each number: file, first, last, measure, value, low, high, n, unit, note. First and last
            are modalities, the same where it is of one. n counts rows, or pairs where it is of pairs. A value that
            there is not is None, and its note says why. low and high are None: no interval is computed.
        counts: rows of each modality, by name.
        dim: the width.
        norms: the least and the largest norm of each modality's rows, before they were normalised here.
        notes: sentences for whoever reads the numbers.
    """

    rows: Sequence[Mapping]
    counts: Mapping[str, int]
    dim: int
    norms: Mapping[str, tuple[float, float]]
    notes: Sequence[str] = ()

    def row(self, measure: str, *modalities: str) -> Mapping:
        """The row of a measure; where several modalities have one, of those that are named."""
        found = [row for row in self.rows if row["measure"] == measure and {*modalities} <= {row["first"], row["last"]}]
        if len(found) != 1:
            named = " of ".join([measure, *filter(None, [" and ".join(modalities)])])
            raise UserError(f"{named}: {len(found)} rows of this card; measures are {', '.join(CARD)}, name modalities")
        return found[0]

    def __getitem__(self, key: str | tuple[str, ...]) -> float | None:
        """The value of ``card["gap_distance"]`` or of ``card["mean_cosine", "text"]``."""
        return self.row(*([key] if isinstance(key, str) else key))["value"]

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)

    def __str__(self) -> str:
        blocks = []
        for names in list(combinations(self.counts, 2)) or [tuple(self.counts)]:
            lines = [" and ".join(f"{name} ({self.counts[name]} x {self.dim})" for name in names)]
            shown = [row for row in self.rows if {row["first"], row["last"]} <= {*names}]
            for measure, entry in CARD.items():
                rows = [row for row in shown if row["measure"] == measure]
                single = entry.of in ("rows", "some rows")
                of_each = [f"{row['first']} {_said(row)}" if single else _said(row) for row in rows]
                lines += [f"  {entry.title:<22} {', '.join(of_each)}"] if rows else []
            blocks.append("\n".join(lines))
        return "\n".join(blocks)

    __repr__ = __str__


def _said(row: Mapping) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    return row["note"] if row["value"] is None else f"{row['value']:z.4f}{note}"


def measure(*given, columns: Mapping[str, str] | None = None, seed: int = 0, most: int = MOST) -> Measures:
    """The numbers of one set of embeddings: of each modality, and of every two.

    Args:
        given: embeddings, in memory or mapped from a file of any size (``unit=False``); or paths as
            ``Embeddings.load`` takes them; or arrays by name, {"image": images, "text": texts}; or one array or two,
            called x and y then.
        columns: modality -> name of its array or column in the files.
        seed: of the sample and the folds of the separability.
        most: rows of each modality that the separability, the uniformity and the scores are measured on, at most.
    """
    found = _opened(given, columns)
    file = found.source.get("path", "")
    called = {name: f"{file}: {name}" if file else name for name in found.names}
    alone, rows = {}, []
    for names in combinations(found.names, 2):
        parts, pairs = [found.modalities[name] for name in names], found.pairs_between(names)
        both = pair_moments(*parts, pairs, tuple(called[name] for name in names))
        alone |= dict(zip(names, (both.first, both.last), strict=True))
        *some, _ = sample(tuple(map(len, parts)), pairs, most, seed)
        sampled, together = [part[chosen] for part, chosen in zip(parts, some, strict=True)], among(pairs, *some)
        rows += _rows(file, names, "gap", both.first.n + both.last.n, both)
        rows += _rows(file, names, "pairs", both.pairs, both)
        rows += _rows(file, names, "scores", len(together), scores(*sampled, together) if len(together) else None)
        rows += _rows(file, names, "sample", len(some[0]), *sampled, seed)
    alone = alone or {name: moments(part, called[name]) for name, part in found.modalities.items()}
    for name, part in alone.items():
        some = sample((part.n, part.n), None, most, seed)[0]
        rows += _rows(file, (name,), "rows", part.n, part)
        rows += _rows(file, (name,), "some rows", len(some), found.modalities[name][some])
    return Measures(
        rows,
        counts={name: part.n for name, part in alone.items()},
        dim=found.dim,
        norms={name: (part.shortest, part.longest) for name, part in alone.items()},
        notes=tuple(dict.fromkeys([*found.source.get("notes", ()), *found.remarks(alone)])),
    )


def _opened(given: tuple, columns: Mapping[str, str] | None) -> Embeddings:
    """What was given as a set of embeddings."""
    if given and all(isinstance(each, (str, Path)) for each in given):
        return Embeddings.load(*given, columns=columns, unit=False)
    if columns:
        raise UserError("columns name the arrays of files; arrays are given by name, as {'image': x, 'text': y}")
    if len(given) == 1 and isinstance(given[0], Embeddings):
        return given[0]
    if len(given) == 1 and isinstance(given[0], Mapping):
        arrays = given[0]
    elif 1 <= len(given) <= 2:
        arrays = dict(zip("xy", given, strict=False))
    else:
        raise UserError(f"measure takes embeddings, paths, arrays by name, or an array or two, not {len(given)} things")
    return Embeddings.of({name: to_numpy(as_matrix(array, name)) for name, array in arrays.items()}, unit=False)


def _rows(file: str, names: tuple[str, ...], of: str, n: int, *what) -> list[dict]:
    """The rows of those measures of the card that are ``of`` something."""
    rows = []
    for name, entry in CARD.items():
        if entry.of == of:
            value, note = entry.value(*what) if n else None, entry.note.format(n=n)
            if value is None:
                note = "all rows are one" if n else "not paired"
            place = {"file": file, "first": names[0], "last": names[-1], "measure": name, "value": value}
            rows.append(place | {"low": None, "high": None, "n": n, "unit": entry.unit, "note": note})
    return rows


def alignment(both: PairMoments) -> float | None:
    """Mean squared distance of the pairs, in [0, 4]: 2 - 2 cosine. Source: Wang and Isola (2020), alpha = 2."""
    return max(0.0, 2 - 2 * both.matched_cosine) if both.pairs else None


class Entry(NamedTuple):
    """A measure of the card: a function, and how a table names what it gives."""

    value: Callable
    of: Literal["rows", "some rows", "gap", "pairs", "scores", "sample"]
    """What it takes: the ``Moments`` of one modality or a sample of its rows; the ``PairMoments`` of two or of their
    pairs; the ``Scores`` of sampled pairs; or (x, y, seed) with as many rows of both."""
    title: str
    unit: str
    note: str = ""


OF_SOME = "of {n} pairs"

CARD = {
    "gap_distance": Entry(attrgetter("gap_distance"), "gap", "gap distance", "distance"),
    "matched_cosine": Entry(attrgetter("matched_cosine"), "pairs", "matched cosine", "cosine"),
    "mean_cosine": Entry(attrgetter("mean_cosine"), "rows", "mean cosine", "cosine"),
    "relative_gap": Entry(attrgetter("relative_gap"), "pairs", "relative gap (RMG)", "fraction"),
    "separability": Entry(separability, "sample", "linear separability", "fraction", "held out, {n} rows of each"),
    "unmatched_cosine": Entry(attrgetter("unmatched"), "scores", "unmatched cosine", "cosine", OF_SOME),
    "matched_std": Entry(attrgetter("matched_std"), "scores", "std of matched", "cosine", OF_SOME),
    "unmatched_std": Entry(attrgetter("unmatched_std"), "scores", "std of unmatched", "cosine", OF_SOME),
    "matched_above_unmatched": Entry(attrgetter("above"), "scores", "above 95% of unmatched", "fraction", OF_SOME),
    "alignment": Entry(alignment, "pairs", "alignment", "squared distance"),
    "uniformity": Entry(uniformity, "some rows", "uniformity", "log", "of {n} rows"),
}
"""Every measure by name, in the order of the table."""
