"""Zero-shot classification and retrieval at every shift, from one product per tile of rows.

A shifted cosine follows from the unshifted one. With p = <x, u>, q = <y, u>, a unit direction u, and the amounts a and
b by which a shift moves x against it and y along it,

    cos(x - a u, y + b u) = (<x, y> + b p - a q - a b) / (||x - a u|| ||y + b u||),

so each product is computed once, in float64, and a shift only costs comparisons. Nothing is ever as large as rows
times columns. Cosines within 1e-12 of each other count as equal, and of equal ones the lower index comes first.

Images are the rows of x, texts those of y. Loops are compiled for a CPU; results are numpy arrays, shifts first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float, Int, Int32, UInt32
from torch import Tensor

from .. import UserError
from ..geometry import Side, project, resolve_direction, shifted_norms, side_amounts, units
from ..numerics.arrays import (
    Array,
    Others,
    Rows,
    Vector,
    as_indices,
    as_numbers,
    as_tensor,
    as_unit_pair,
    blocks,
    to_numpy,
)
from ..numerics.items import matched

TIE = 1e-12
"""Cosines closer than this are one cosine, for the same two rows give products that differ in their last digits from
one place of a matrix product to another. Far above a float64 product's rounding, far below any real difference."""

TILE = 2**20
"""Products of some rows with all columns, 8 MB, which are read again for every shift."""

CACHED = 2**16
"""Products that stay in the cache of a core while the shifts are gone through."""

ALL = np.iinfo(np.int32).max

GROUP = 128
"""Columns of like projection, which together bound their cosines after any shift."""


class Classified(NamedTuple):
    predicted: Int32[np.ndarray, "k n"]
    ranks: Int32[np.ndarray, "k n"]


class Decided(NamedTuple):
    right: UInt32[np.ndarray, "k"]  # rows of the class of their label
    flipped: UInt32[np.ndarray, "k"]  # rows of another class than without a shift
    moves: UInt32[np.ndarray, "q 4"]  # place of the shift, class without a shift, class, rows: those of most rows


class Retrieved(NamedTuple):
    image_ranks: Int32[np.ndarray, "k n"]
    text_ranks: Int32[np.ndarray, "k m"]


class _Moved(NamedTuple):
    """A modality, and what turns its products with the other one into cosines after k shifts.

    The cosine is (product + offset of one + offset of the other) times both inverse norms.
    """

    rows: Tensor  # (n, d)
    offsets: np.ndarray  # (k, n)
    inverse_norms: np.ndarray  # (k, n)


def classify(
    x: Float[Array, "n d"], y: Float[Array, "c d"], labels, shifts, direction=None, side: Side = "both"
) -> Classified:
    """Zero-shot classes of images after every shift, and where the true class stands among all.

    Args:
        x, y: unit-norm rows: images, and the embedding of each class, from its prompt or prompts.
        labels: n whole numbers, the row of ``y`` that is each image's class.
        shifts, direction, side: k amounts, and how to move by each, as in ``util.geometry.shift``. Trap: the gap vector
            of images and classes, by default the direction, is another one than that of images and captions.

    Returns:
        predicted: (k, n), in 0 to c - 1: the class of the highest cosine.
        ranks: (k, n): how many classes come before the true one, so top-k accuracy is the share of ranks below k.

    Paper: Table 1. Time: a product for each of both, and comparisons of its entries at k shifts; memory: a tile.
    """
    ranks = class_ranks(x, y, labels, shifts, direction, side)
    return Classified(predict(x, y, shifts, direction, side), ranks)


def class_ranks(x, y, labels, shifts, direction=None, side: Side = "both") -> Int32[np.ndarray, "k n"]:
    """The ``ranks`` of ``classify``, in a quarter of its time."""
    moved = _moved(x, y, shifts, direction, side)
    own = as_indices(labels, "labels", len(x), "row of x", len(y), "classes")
    return _ranks(*moved, np.stack([np.arange(len(x)), own], axis=1))


def predict(x, y, shifts, direction=None, side: Side = "both") -> Int32[np.ndarray, "k n"]:
    """The ``predicted`` of ``classify`` where no labels are known."""
    one, other = _moved(x, y, shifts, direction, side)
    columns, found = other.rows.double().T, np.empty(one.offsets.shape, np.int32)
    for rows in (slice(top, top + max(1, CACHED // len(y))) for top in range(0, len(x), max(1, CACHED // len(y)))):
        products = (one.rows[rows].double() @ columns).numpy()
        _nearest(products, one.offsets[:, rows], one.inverse_norms[:, rows], *other[1:], found[:, rows])
    return found


def decisions(x: Rows, y: Others, labels, shifts, direction: Vector, most: int) -> Decided:
    """How the classes of all rows follow the shifts, counted a block at a time; ``most`` moves of each shift are kept.

    Arguments as in ``classify``, with rows stored in any way and of any norm.
    """
    classes, zero = np.concatenate([unit for _, unit, _ in units(y)]), int(np.abs(shifts).argmin())
    right, cells, counts = 0, np.empty(0, int), np.empty(0)
    for start, rows, _ in units(x):
        found = predict(rows, classes, shifts, direction).astype(int)
        right = right + (found == labels[start : start + len(rows)]).sum(1)
        k, row = np.nonzero(found != found[zero])
        new = (k * len(y) + found[zero, row]) * len(y) + found[k, row]
        cells, at = np.unique(np.concatenate([cells, new]), return_inverse=True)
        counts = np.bincount(at, np.concatenate([counts, np.ones(len(new))]))
    k, before, after = np.unravel_index(cells, (len(shifts), len(y), len(y)))
    order = np.lexsort((-counts, k))
    order = order[np.arange(len(order)) - np.searchsorted(k[order], k[order]) < most]
    moves = np.stack([k, before, after, counts], axis=1)[order].astype("u4")
    return Decided(right.astype("u4"), np.bincount(k, counts, len(shifts)).astype("u4"), moves)


def scores(x, y, shifts, direction=None, side: Side = "both") -> Iterator[Float[np.ndarray, "n c"]]:
    """Cosines of every row of x with every row of y after each shift, one shift after the other.

    Arguments as in ``classify``. Memory: two float64 arrays (n, c).
    """
    return _cosines(*_moved(x, y, shifts, direction, side), slice(None))


def retrieve(
    x: Float[Array, "n d"], y: Float[Array, "m d"], item_of, shifts, direction=None, side: Side = "both", once=True
) -> Retrieved:
    """Where the nearest own text of each image, and the nearest own image of each text, stand after every shift.

    Args:
        x, shifts, direction, side: as in ``classify``; the default direction counts every item once.
        y: unit-norm rows: texts.
        item_of: m whole numbers, the row of ``x`` that each text describes, or pairs (p, 2) of a row of ``x`` and a
            row of ``y``, many to many. Every row of both needs a partner; the order is free.
        once: whether equal rows are one item; False as released: of equal ones the lower index comes first.

    Returns:
        image_ranks: (k, n), in 0 to m - 1: how many texts that are not the image's come before the best of its own, so
            recall@k is the share of ranks below k. text_ranks: (k, m), in 0 to n - 1: the same of images for a text.

    Exactly equal rows are one item, which has the partners of all its copies, and whose rank each copy gets. Where they
    are to count once, as in a share or a p-value, give them once (``util.numerics.items.matched``).

    Time: two products, and at each shift comparisons of entries that may be ahead; memory: a tile, O(k (n + m + p)).
    """
    x, y = map(as_tensor, as_unit_pair(x, y))
    pairs = _own_pairs(item_of, len(x), len(y))
    if not once:
        return Retrieved(*_both_ways(*_moved(x, y, shifts, direction, side), pairs))
    own = matched(x, y, pairs)
    ranks = _both_ways(*_moved(x[own.first], y[own.second], shifts, direction, side), own.pairs)
    places = (np.searchsorted(rows, of) for rows, of in zip((own.first, own.second), own.items, strict=True))
    return Retrieved(*(of_items[:, at] for of_items, at in zip(ranks, places, strict=True)))


def hits(x, y, item_of, shifts, direction=None, side: Side = "both") -> tuple[Int[np.ndarray, "k"], ...]:
    """How many rows of x, and of y, have rank 0 in ``retrieve`` after each shift, in a fraction of its time.

    Arguments as there. Rows are all different: give items once (``util.numerics.items``).
    """
    moved, pairs = _moved(x, y, shifts, direction, side), _own_pairs(item_of, len(x), len(y))
    return tuple((ranks == 0).sum(1) for ranks in _both_ways(*moved, pairs, enough=1))


def _moved(x: Array, y: Array, shifts, direction, side: Side) -> tuple[_Moved, _Moved]:
    """Both modalities, checked, on the CPU."""
    x, y = (as_tensor(part).cpu() for part in as_unit_pair(x, y))
    amounts = torch.from_numpy(as_numbers(shifts, "shifts"))
    against, along = side_amounts(amounts, side)
    if direction is None and not amounts.any():
        unit = torch.zeros(x.shape[1], dtype=torch.float64)  # a zero gap is no hindrance
    else:
        unit = resolve_direction(x, y, direction)
    p, q = project(x, unit), project(y, unit)
    one = along[:, None] * (p - against[:, None]), 1 / shifted_norms(x, unit, p, -against)
    other = -against[:, None] * q, 1 / shifted_norms(y, unit, q, along)
    return _Moved(x, *map(to_numpy, one)), _Moved(y, *map(to_numpy, other))


def _cosines(x: _Moved, y: _Moved, rows: slice) -> Iterator[Float[np.ndarray, "r m"]]:
    """Cosines of some rows of x with all of y, shift by shift."""
    products = (x.rows[rows].double() @ y.rows.double().T).numpy()
    for k in range(len(x.offsets)):
        cosines = products + y.offsets[k]
        cosines += x.offsets[k, rows, None]
        cosines *= y.inverse_norms[k]
        cosines *= x.inverse_norms[k, rows, None]
        yield cosines


def _own_pairs(item_of, n: int, m: int) -> Int[np.ndarray, "p 2"]:
    """Row numbers that belong together; a row of either side that has no partner is refused."""
    given = np.asarray(to_numpy(item_of))
    sides = ("x", n, "image", "a text"), ("y", m, "text", "an image")
    if given.ndim == 2 and given.shape[1] == 2:
        parts = [
            as_indices(part, f"{name} of item_of", len(part), "pair", size, f"rows of {name}")
            for part, (name, size, *_) in zip(given.T, sides, strict=True)
        ]
    else:
        parts = [as_indices(given, "item_of", m, "row of y", n, "rows of x"), np.arange(m)]
    for rows, (name, size, one, partner) in zip(parts, sides, strict=True):
        if len(lacking := np.setdiff1d(np.arange(size), rows)):
            none = f"{len(lacking)} of {size} have none, first row {lacking[0]} of {name}"
            raise UserError(f"every {one} needs {partner}: {none}; remove them")
    return np.stack(parts, axis=1)


def _best(asking: _Moved, answering: _Moved, pairs: Int[np.ndarray, "p 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Cosine (k, n) and number of the best own answer of each row that asks; every one stands in ``pairs``."""
    of, own = pairs[np.lexsort(pairs.T[::-1])].T
    both = zip(blocks(torch.from_numpy(of)), blocks(torch.from_numpy(own)), strict=True)
    products = torch.cat([(asking.rows[i].double() * answering.rows[j].double()).sum(1) for (_, i), (_, j) in both])
    cosines = products.numpy() + asking.offsets[:, of] + answering.offsets[:, own]
    cosines *= asking.inverse_norms[:, of] * answering.inverse_norms[:, own]
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    best = np.maximum.reduceat(cosines, starts, axis=1)
    having = np.where(cosines >= best[:, of] - TIE, own, len(answering.rows))
    return best, np.minimum.reduceat(having, starts, axis=1)


def _both_ways(x: _Moved, y: _Moved, pairs: Int[np.ndarray, "p 2"], enough: int = ALL) -> list[np.ndarray]:
    return [_ranks(x, y, pairs, enough), _ranks(y, x, pairs[:, ::-1], enough)]


def _ranks(asking: _Moved, answering: _Moved, pairs: Int[np.ndarray, "p 2"], enough=ALL) -> Int32[np.ndarray, "k n"]:
    """How many answers, not its own, come before the best own one of each row that asks, counted up to ``enough``."""
    (best, first), m, found = _best(asking, answering, pairs), len(answering.rows), []
    order = np.argsort(np.linspace(-1, 1, len(best)) @ sum(answering[1:]), kind="stable")  # by projection
    order = order[np.lexsort((order, np.arange(m) // GROUP))]  # each group by number
    starts, places, right = np.arange(0, m, GROUP), np.argsort(order), answering.rows[order].double().T
    columns = [np.ascontiguousarray(each[:, order]) for each in answering[1:]]
    bounds = [np.maximum.reduceat(each, starts, axis=1) for each in columns]
    bounds.append(np.minimum.reduceat(columns[1], starts, axis=1))
    size = max(1, TILE // m)
    for top in range(0, len(asking.rows), size):
        rows = slice(top, top + size)
        products = (asking.rows[rows].double() @ right).numpy()
        i, j = pairs[(pairs[:, 0] >= top) & (pairs[:, 0] < rows.stop)].T
        products[i - top, places[j]] = -np.inf
        groups = np.maximum.reduceat(products, starts, axis=1), np.append(starts, m), *bounds
        asks = [np.ascontiguousarray(each[:, rows]) for each in (*asking[1:], best, first)]
        found.append(_before(products, order, *columns, *groups, *asks, enough))
    return np.concatenate(found, axis=1)


@numba.njit(parallel=True, cache=True)
def _before(
    products, order, offsets, inverses, tops, ends, offset_most, most, least, own_offset, own_norm, best, first, enough
):
    """Columns whose cosine is higher than ``best`` (k, r), or equal and of a number below ``first``: int32 (k, r).

    ``products`` (r, c) are float64, and -inf where a column does not count. Columns have the numbers ``order`` and
    stand in groups between ``ends``. ``tops`` (r, g) are the largest products of each group, ``offset_most``, ``most``
    and ``least`` (k, g) its largest offset and its largest and least inverse norm. ``own_norm`` is an inverse too.
    """
    found = np.zeros(best.shape, np.int32)
    for i in numba.prange(len(products)):
        ahead = 0  # the last group that held a column before the best: asked first at the next shift
        for s in range(len(best)):
            offset, bar, tie, asked = own_offset[s, i], best[s, i] / own_norm[s, i], TIE / own_norm[s, i], ahead
            for step in range(-1, len(ends) - 1):
                g = asked if step < 0 else step
                bound = tops[i, g] + offset + offset_most[s, g]
                if step == asked or bound * (most[s, g] if bound > 0 else least[s, g]) < bar - 2 * tie:
                    continue
                middle = ends[g] + np.searchsorted(order[ends[g] : ends[g + 1]], first[s, i])
                for start, end, value in ((ends[g], middle, bar - tie), (middle, ends[g + 1], bar + tie)):
                    line, added, norms = products[i, start:end], offsets[s, start:end], inverses[s, start:end]
                    before = _higher(line, offset, added, norms, value)
                    found[s, i] += before
                    ahead = g if before else ahead
                if found[s, i] >= enough:
                    break
    return found


@numba.njit(parallel=True, fastmath={"nnan", "nsz"}, cache=True)
def _nearest(products, own_offset, own_norm, offsets, inverses, found):
    """Puts the first column of the highest cosine of each row into ``found`` (k, r); norms are inverse."""
    for s in numba.prange(len(found)):
        cosines = np.empty(products.shape[1])
        for i in range(len(products)):
            best = -np.inf
            for j in range(len(cosines)):
                cosines[j] = (products[i, j] + own_offset[s, i] + offsets[s, j]) * inverses[s, j]
                best = cosines[j] if cosines[j] > best else best
            j = 0
            while cosines[j] < best - TIE / own_norm[s, i]:
                j += 1
            found[s, i] = j


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)
def _higher(line, offset, offsets, inverse_norms, least):
    count = 0
    for j in range(len(line)):
        count += 1 if (line[j] + offset + offsets[j]) * inverse_norms[j] > least else 0
    return count
