"""All numbers of a gap at once: what stands at each panel of Figure 1, and what ``modality-gap measure`` prints.

A measure is one function and one entry of ``CARD``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .embeddings import Embeddings
from .errors import UserError
from .geometry import unit_rows
from .numerics.arrays import as_matrix, to_numpy
from .numerics.moments import moments, pair_moments

if TYPE_CHECKING:
    import pandas as pd

MOST = 2000
"""Rows of each modality from which a sample is taken: at 512 columns five fits take about a second."""

FOLDS = 5


@dataclass(frozen=True, repr=False)
class Measures:
    """The card: every number of one set of embeddings. It prints as a table, in a notebook too.

    Attributes:
        rows: a mapping for each number: file, first, last, measure, value, low, high, n, unit, note. First and last
            are names of modalities, the same where it is of one. n counts rows, or pairs where it is of pairs. A value
            that there is not is None, and its note says why. low and high are None: no interval is computed.
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
        for names in _every_two(tuple(self.counts)):
            lines = [" and ".join(f"{name} ({self.counts[name]} x {self.dim})" for name in names)]
            for measure, entry in CARD.items():
                rows = [
                    row for row in self.rows if row["measure"] == measure and {row["first"], row["last"]} <= {*names}
                ]
                of_each = [f"{row['first']} {_said(row)}" if entry.of == "rows" else _said(row) for row in rows]
                lines += [f"  {entry.title:<22} {', '.join(of_each)}"] if rows else []
            blocks.append("\n".join(lines))
        return "\n".join(blocks)

    __repr__ = __str__


def _said(row: Mapping) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    return row["note"] if row["value"] is None else f"{row['value']:.4f}{note}"


def _every_two(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(combinations(names, 2)) or [names]


def measure(*given, columns: Mapping[str, str] | None = None, seed: int = 0, most: int = MOST) -> Measures:
    """The numbers of one set of embeddings: of each modality, and of every two.

    Args:
        given: embeddings, in memory or mapped from a file of any size (``unit=False``); or paths as
            ``Embeddings.load`` takes them; or arrays by name, {"image": images, "text": texts}; or one array or two,
            called x and y then.
        columns: modality -> name of its array or column in the files.
        seed: of the sample and the folds of the separability.
        most: rows of each modality that the separability is measured on, at most.
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
        sampled = [part[chosen] for part, chosen in zip(parts, some, strict=True)]
        rows += _rows(file, names, "gap", both.first.n + both.last.n, both)
        rows += _rows(file, names, "pairs", both.pairs, both)
        rows += _rows(file, names, "sample", len(some[0]), *sampled, seed)
    alone = alone or {name: moments(part, called[name]) for name, part in found.modalities.items()}
    for name, part in alone.items():
        rows += _rows(file, (name,), "rows", part.n, part)
    return Measures(
        rows,
        counts={name: part.n for name, part in alone.items()},
        dim=next(iter(found.modalities.values())).shape[1],
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
        raise UserError(
            f"measure takes embeddings, paths, arrays by name, or one array or two, not {len(given)} things"
        )
    return Embeddings.of({name: to_numpy(as_matrix(array, name)) for name, array in arrays.items()}, unit=False)


def _rows(file: str, names: tuple[str, ...], of: str, n: int, *what) -> list[dict]:
    """The rows of those measures of the card that are ``of`` something."""
    rows = []
    for name, entry in CARD.items():
        if entry.of == of:
            value, note = entry.value(*what), entry.note.format(n=n)
            if value is None:
                note = "all rows are one" if n else "not paired"
            place = {"file": file, "first": names[0], "last": names[-1], "measure": name, "value": value}
            rows.append(place | {"low": None, "high": None, "n": n, "unit": entry.unit, "note": note})
    return rows


def sample(
    counts: tuple[int, int], pairs: Int[np.ndarray, "p 2"] | None, most: int, seed: int
) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"], bool]:
    """A random subset of both modalities, pair by pair where there are pairs, no row twice.

    ``counts`` are the rows of each modality, ``pairs`` the row numbers that belong together.

    Returns:
        row numbers (k,) of the first and of the last modality, k at most ``most``, and whether entry i of both is a
        pair: where ``pairs`` are given and at least two of them share no row. Ascending in the first, as a mapped file
        is best read.
    """
    rng = np.random.default_rng([seed, 4])
    chosen = np.empty((0, 2), np.int64) if pairs is None else pairs[rng.permutation(len(pairs))]
    for column in (0, 1):  # one pair for each image, then for each text
        chosen = chosen[np.sort(np.unique(chosen[:, column], return_index=True)[1])]
    chosen = chosen[:most]
    if len(chosen) < 2:
        k = min(*counts, most)
        return *(np.sort(rng.permutation(count)[:k]) for count in counts), False
    chosen = chosen[np.argsort(chosen[:, 0])]
    return chosen[:, 0], chosen[:, 1], True


def separability(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], seed: int = 0) -> float:
    """Share of the rows that a logistic regression, fitted on others, assigns to their own modality.

    Args:
        x, y: as many rows of each, so that guessing is right half the time; rows are normalised here. Row i of both,
            a pair where there is one, is held out together.
        seed: of the folds, ``FOLDS`` or as many as there are rows.

    Returns:
        in [0, 1]: 1 where a plane separates the modalities, about 1/2 where they are two samples of one distribution.

    Trap: below 1/2 where the modalities were centred on these very rows, 0.30 for published CLIP and less the more
    columns there are. The means then agree exactly, so d_held = -d_fitted (1 - f)/f for the share f of rows held out:
    they lie on the other side. Centred by other rows (``util.interventions.fit``) they reach 1/2 or more.

    Source: Fahim et al., "It's Not a Modality Gap" (2024), who hold out one random fifth; here every pair is held out
    once. The penalty is theirs, scikit-learn's default (C = 1). Unit rows are moved to the centre of those fitted and
    divided by their root mean square distance from it, so that the penalty weighs narrow cones as wide ones. Trap:
    with few rows and many columns any two samples look separable on the rows that were fitted, hence the held-out ones.
    A value of 1 says nothing about how wide the gap is.
    """
    x, y = (np.asarray(unit_rows(np.asarray(part, np.float64))) for part in (x, y))
    if len(x) != len(y) or len(x) < 2:
        raise UserError(f"separability needs as many rows of both, two at least; there are {len(x)} and {len(y)}")
    right, order = 0, np.random.RandomState(seed).permutation(len(x))
    for held_out in np.array_split(order, min(FOLDS, len(x))):  # as scikit-learn's shuffled KFold
        fitted = ~np.isin(np.arange(len(x)), held_out)
        rows, modality = np.concatenate([x[fitted], y[fitted]]), np.repeat([0.0, 1.0], fitted.sum())
        centre = rows.mean(0)
        spread = np.sqrt(np.square(rows - centre).sum(1).mean()) or 1.0
        *plane, offset = _fitted_plane((rows - centre) / spread, modality)
        scores = [(part[held_out] - centre) / spread @ np.array(plane) + offset for part in (x, y)]
        right += int((scores[0] <= 0).sum() + (scores[1] > 0).sum())
    return right / (2 * len(x))


def _fitted_plane(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Weights and intercept (d + 1,) of a logistic regression with C = 1, as scikit-learn fits it."""
    # importing scikit-learn takes longer than the fit, and the threads of a BLAS wait longer than einsum computes
    from scipy.optimize import minimize

    count = len(rows)

    def loss(plane: np.ndarray) -> tuple[float, np.ndarray]:
        weights, scores = plane[:-1], np.einsum("ij,j->i", rows, plane[:-1]) + plane[-1]
        errors = (1 / (1 + np.exp(-scores)) - classes) / count
        value = (np.logaddexp(0, scores) - classes * scores).mean() + 0.5 / count * (weights @ weights)
        return value, np.append(np.einsum("i,ij->j", errors, rows) + weights / count, errors.sum())

    options = {"maxiter": 100, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    return minimize(loss, np.zeros(rows.shape[1] + 1), method="L-BFGS-B", jac=True, options=options).x


class Entry(NamedTuple):
    """A measure of the card: a function, and how a table names what it gives."""

    value: Callable
    of: Literal["rows", "gap", "pairs", "sample"]
    """What it takes: the ``Moments`` of one modality, the ``PairMoments`` of two or of their pairs, or (x, y, seed)
    with as many rows of both."""
    title: str
    unit: str
    note: str = ""


CARD = {
    "gap_distance": Entry(attrgetter("gap_distance"), "gap", "gap distance", "distance"),
    "matched_cosine": Entry(attrgetter("matched_cosine"), "pairs", "matched cosine", "cosine"),
    "mean_cosine": Entry(attrgetter("mean_cosine"), "rows", "mean cosine", "cosine"),
    "relative_gap": Entry(attrgetter("relative_gap"), "pairs", "relative gap (RMG)", "fraction"),
    "separability": Entry(separability, "sample", "linear separability", "fraction", "held out, {n} rows of each"),
}
"""Every measure by name, in the order of the table."""
