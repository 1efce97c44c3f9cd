"""Zero-shot classification and retrieval at every shift, from one product per tile of rows and columns.

A shifted cosine follows from the unshifted one. With p = <x, u>, q = <y, u>, a unit direction u, and the amounts a and
b by which a shift moves x against it and y along it,

    cos(x - a u, y + b u) = (<x, y> + b p - a q - a b) / (||x - a u|| ||y + b u||),

so each product is computed once, in float64, and a shift only costs comparisons. Nothing is ever as large as rows
times columns. Cosines within 1e-12 of each other count as equal, and of equal ones the lower index comes first.

Images are the rows of x, prompts or texts those of y. The loops are compiled for a CPU, which tensors of a GPU are
copied to. Results are numpy arrays with the shifts as their first axis.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from ..errors import UserError
from ..geometry import Side, project, resolve_direction, shifted_norms, side_amounts
from ..numerics.arrays import Array, as_indices, as_numbers, as_unit_tensors, blocks, to_numpy
from ..numerics.items import matched
from ._kernel import TIE, before

TILE = 512
"""Rows and columns of a tile: its products, 2 MB, and its columns' numbers are read again for every shift."""

BLOCK_ENTRIES = 2**17
"""Cosines of a block of rows with all classes, 1 MB of float64."""


class Classified(NamedTuple):
    """Result of ``classify``."""

    predicted: Int32[np.ndarray, "k n"]
    ranks: Int32[np.ndarray, "k n"]


class Retrieved(NamedTuple):
    """Result of ``retrieve``."""

    image_ranks: Int32[np.ndarray, "k n"]
    text_ranks: Int32[np.ndarray, "k m"]


class _Moved(NamedTuple):
    """A modality, and what turns its products with the other one into cosines after k shifts.

    The cosine is (product + offset of one + offset of the other) times both inverse norms.
    """

    rows: Tensor  # (n, d)
    offsets: np.ndarray  # (k, n)
    inverse_norms: np.ndarray  # (k, n)


class _Way(NamedTuple):
    """Rows that ask, rows that answer, and the best own answer of each that asks after every shift."""

    asking: _Moved
    answering: _Moved
    best: np.ndarray  # (k, n) its cosine
    first: np.ndarray  # (k, n) its number
    ranks: np.ndarray  # (k, n) how many answers come before it, as far as they are counted

    @classmethod
    def of(cls, asking: _Moved, answering: _Moved, pairs: np.ndarray) -> "_Way":
        """``pairs`` (p, 2) of rows that belong together; every row that asks needs one."""
        of, own = pairs[np.lexsort(pairs.T[::-1])].T
        cosines = _pair_cosines(asking, answering, of, own)
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        best = np.maximum.reduceat(cosines, starts, axis=1)
        having = np.where(cosines >= best[:, of] - TIE, own, len(answering.rows))
        return cls(asking, answering, best, np.minimum.reduceat(having, starts, axis=1), np.zeros(best.shape, np.int32))

    def count(self, products: np.ndarray, rows: slice, columns: slice) -> None:
        """Adds what a tile of products holds."""
        asking, answering = self.asking, self.answering
        of_tile = products, asking.offsets[:, rows], answering.offsets[:, columns]
        of_tile += asking.inverse_norms[:, rows], answering.inverse_norms[:, columns]
        of_tile += self.best[:, rows], self.first[:, rows] - columns.start
        self.ranks[:, rows] += before(*map(np.ascontiguousarray, of_tile))


def classify(
    x: Float[Array, "n d"],
    y: Float[Array, "c d"],
    labels,
    shifts,
    direction: Float[Array, "d"] | None = None,
    side: Side = "both",
) -> Classified:
    """Zero-shot classes of images after every shift, and where the true class stands among all.

    Args:
        x: float array (n, d), unit-norm rows: images.
        y: float array (c, d), unit-norm rows: the embedding of each class, from its prompt or prompts.
        labels: n whole numbers, the row of ``y`` that is each image's class.
        shifts: k amounts, as in ``util.geometry.shift`` (positive closes the gap).
        direction: float array (d,), made unit here; by default the unit gap vector of ``x`` and ``y``, that is of
            images and classes: another one than that of images and captions.
        side: "both" (paper, Table 1) or "first" (only the images; paper, Table 2).

    Returns:
        predicted: int32 (k, n), in 0 to c - 1: the class of the highest cosine.
        ranks: int32 (k, n), in 0 to c - 1: how many classes come before the true one, so top-k accuracy is the share
            of ranks below k.

    Paper: Table 1. Time: a product for each of both, and comparisons of its entries at k shifts; memory: a tile.
    """
    ranks = class_ranks(x, y, labels, shifts, direction, side)
    return Classified(predict(x, y, shifts, direction, side), ranks)


def class_ranks(x, y, labels, shifts, direction=None, side: Side = "both") -> Int32[np.ndarray, "k n"]:
    """The ``ranks`` of ``classify``, in a quarter of its time."""
    moved = _moved(x, y, shifts, direction, side)
    own = as_indices(labels, "labels", len(x), "row of x", len(y), "classes")
    return _counted(*moved, np.stack([np.arange(len(x)), own], axis=1), both=False)[0]


def predict(x, y, shifts, direction=None, side: Side = "both") -> Int32[np.ndarray, "k n"]:
    """The ``predicted`` of ``classify`` where no labels are known."""
    moved, found = _moved(x, y, shifts, direction, side), []
    size = max(1, BLOCK_ENTRIES // len(y))
    for start in range(0, len(x), size):
        cosines = _cosines(*moved, slice(start, start + size))
        found.append([(each >= each.max(1, keepdims=True) - TIE).argmax(1) for each in cosines])
    return np.concatenate(found, axis=1).astype(np.int32)


def scores(x, y, shifts, direction=None, side: Side = "both") -> Iterator[Float[np.ndarray, "n c"]]:
    """Cosines of every row of x with every row of y after each shift, one shift after the other.

    Arguments as in ``classify``. Memory: two float64 arrays (n, c).
    """
    return _cosines(*_moved(x, y, shifts, direction, side), slice(None))


def retrieve(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    item_of,
    shifts,
    direction: Float[Array, "d"] | None = None,
    side: Side = "both",
    *,
    once: bool = True,
) -> Retrieved:
    """Where the nearest own text of each image, and the nearest own image of each text, stand after every shift.

    Args:
        x, shifts, direction, side: as in ``classify``; the default direction counts every item once.
        y: float array (m, d), unit-norm rows: texts.
        item_of: m whole numbers, the row of ``x`` that each text describes, or pairs (p, 2) of a row of ``x`` and a
            row of ``y``, many to many. Every row of both needs a partner; the order is free.
        once: whether equal rows are one item; False as released: of equal ones the lower index comes first.

    Returns:
        image_ranks: int32 (k, n), in 0 to m - 1: how many texts that are not the image's come before the best of its
            own, so recall@k is the share of ranks below k.
        text_ranks: int32 (k, m), in 0 to n - 1: how many images that are not the text's come before the best of its.

    Exactly equal rows are one item, which has the partners of all its copies. It is ranked once, and each copy gets
    its rank. Where items are to count once, as in a share or a p-value, give them once (``util.numerics.items``):

        own = items.matched(images, texts, pairs)
        found = shifted.retrieve(images[own.first], texts[own.second], own.pairs, shifts)

    ``own.groups`` says which items depend on each other: the ``groups`` of ``util.zero_shot.outcomes.Hits``.

    Time: one product, and comparisons both ways for each of its entries and shifts; memory: one tile of the product
    and O(k (n + m + pairs)).
    """
    x, y = as_unit_tensors(x, y)
    pairs = _own_pairs(item_of, len(x), len(y))
    if not once:
        return Retrieved(*_counted(*_moved(x, y, shifts, direction, side), np.unique(pairs, axis=0)))
    own = matched(x, y, pairs)
    ranks = _counted(*_moved(x[own.first], y[own.second], shifts, direction, side), own.pairs)
    places = (np.searchsorted(rows, of) for rows, of in zip((own.first, own.second), own.items, strict=True))
    return Retrieved(*(of_items[:, at] for of_items, at in zip(ranks, places, strict=True)))


def _moved(x: Array, y: Array, shifts, direction, side: Side) -> tuple[_Moved, _Moved]:
    """Both modalities, checked, on the CPU."""
    x, y = (part.cpu() for part in as_unit_tensors(x, y))
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


def _pair_cosines(x: _Moved, y: _Moved, i: np.ndarray, j: np.ndarray) -> Float[np.ndarray, "k p"]:
    """Cosines of rows that belong together after every shift."""
    parts = zip(blocks(torch.from_numpy(i)), blocks(torch.from_numpy(j)), strict=True)
    products = torch.cat([(x.rows[a].double() * y.rows[b].double()).sum(1) for (_, a), (_, b) in parts]).numpy()
    return (products + x.offsets[:, i] + y.offsets[:, j]) * (x.inverse_norms[:, i] * y.inverse_norms[:, j])


def _counted(x: _Moved, y: _Moved, pairs: Int[np.ndarray, "p 2"], both: bool = True) -> list[np.ndarray]:
    """Ranks (k, n) of the rows of x, and of ``both``; those that belong together are never counted."""
    ways = [_Way.of(x, y, pairs), *([_Way.of(y, x, pairs[:, ::-1])] if both else [])]
    for top in range(0, len(x.rows), TILE):
        rows = slice(top, top + TILE)
        left = x.rows[rows].double()
        own = pairs[(pairs[:, 0] >= top) & (pairs[:, 0] < rows.stop)]
        for start in range(0, len(y.rows), TILE):
            columns = slice(start, start + TILE)
            products = (left @ y.rows[columns].double().T).numpy()
            i, j = own[(own[:, 1] >= start) & (own[:, 1] < columns.stop)].T
            products[i - top, j - start] = -np.inf
            ways[0].count(products, rows, columns)
            for way in ways[1:]:
                way.count(products.T, columns, rows)
    return [way.ranks for way in ways]
