"""Zero-shot classification and retrieval at every shift, from one product per block of rows.

A shifted cosine follows from the unshifted one. With p = <x, u>, q = <y, u>, a unit direction u, and the amounts a and
b by which a shift moves x against it and y along it,

    cos(x - a u, y + b u) = (<x, y> + b p - a q - a b) / (||x - a u|| ||y + b u||),

so each product is computed once, in float64, and a shift only costs comparisons. Nothing is ever as large as rows
times columns. Cosines within 1e-12 of each other count as equal, and of equal ones the lower index comes first.

Images are the rows of x, prompts or texts those of y. The loops are compiled for a CPU, which tensors of a GPU are
copied to. Results are numpy arrays with the shifts as their first axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from ..errors import UserError
from ..geometry import Side, project, resolve_direction, shifted_norms, side_amounts
from ..numerics.arrays import Array, as_indices, as_numbers, as_unit_tensors, blocks, to_numpy
from ..numerics.items import matched
from . import _kernel

BLOCK_ROWS, BLOCK_ENTRIES = 1024, 2**20
"""Most rows, and most products, of a block of classification: 8 MB of float64."""

TILE_ROWS, TILE_COLUMNS = 512, 512
"""A tile of retrieval: its products, 2 MB, are read again for every shift, its columns' thresholds and counts,
half a dozen rows, for every row: they fit a first-level cache."""


class Classified(NamedTuple):
    """Result of ``classify``."""

    predicted: Int32[np.ndarray, "k n"]
    ranks: Int32[np.ndarray, "k n"]


class Retrieved(NamedTuple):
    """Result of ``retrieve``."""

    image_ranks: Int32[np.ndarray, "k n"]
    text_ranks: Int32[np.ndarray, "k m"]


@dataclass(frozen=True)
class _Shifted:
    """Two modalities, and what turns their products into cosines after k shifts; see ``_kernel.Tile``."""

    x: Tensor
    y: Tensor
    row_offsets: Tensor
    column_offsets: Tensor
    row_inverse_norms: Tensor
    column_inverse_norms: Tensor

    @classmethod
    def of(cls, x: Array, y: Array, shifts, direction, side: Side) -> "_Shifted":
        x, y = (part.cpu() for part in as_unit_tensors(x, y))
        amounts = torch.from_numpy(as_numbers(shifts, "shifts"))
        against, along = side_amounts(amounts, side)
        if direction is None and not amounts.any():
            unit = torch.zeros(x.shape[1], dtype=torch.float64)  # a zero gap is no hindrance
        else:
            unit = resolve_direction(x, y, direction)
        p, q = project(x, unit), project(y, unit)
        norms = shifted_norms(x, unit, p, -against), shifted_norms(y, unit, q, along)
        offsets = along[:, None] * (p - against[:, None]), against[:, None] * q
        return cls(x, y, *offsets, 1 / norms[0], 1 / norms[1])

    def cosines(self, products: Tensor, rows, columns) -> Tensor:
        """Cosines of pairs (k, pairs) from their products (pairs,)."""
        numerators = products + self.row_offsets[:, rows] - self.column_offsets[:, columns]
        return numerators * self.row_inverse_norms[:, rows] * self.column_inverse_norms[:, columns]

    def tile(self, rows: slice, columns: slice, right: Tensor) -> _kernel.Tile:
        """A tile of products; ``right`` is y[columns] in float64."""
        return _kernel.Tile(
            self.x[rows].double() @ right.T,
            self.row_offsets[:, rows],
            self.column_offsets[:, columns],
            self.row_inverse_norms[:, rows],
            self.column_inverse_norms[:, columns],
        )


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
            of ranks below k (``util.zero_shot.metrics.top_k``).

    Paper: Table 1. Time: one product, and k comparisons for each of its entries; memory: a block of rows times c.
    """
    moved = _Shifted.of(x, y, shifts, direction, side)
    return _classified(moved, as_indices(labels, "labels", len(x), "row of x", len(y), "classes"))


def predict(x, y, shifts, direction=None, side: Side = "both") -> Int32[np.ndarray, "k n"]:
    """The ``predicted`` of ``classify`` where no labels are known."""
    return _classified(_Shifted.of(x, y, shifts, direction, side), np.zeros(len(x), np.int64)).predicted


def _classified(moved: _Shifted, labels: np.ndarray) -> Classified:
    found = Classified(*np.empty((2, len(moved.row_offsets), len(moved.x)), np.int32))
    right = moved.y.double()
    size = max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // len(right)))
    for start in range(0, len(moved.x), size):
        rows = slice(start, start + size)
        tile = moved.tile(rows, slice(None), right)
        found.predicted[:, rows], found.ranks[:, rows] = _kernel.classify(tile, labels[rows])
    return found


def binary_margins(x, y, shifts, direction=None, side: Side = "both") -> Float[np.ndarray, "k n"]:
    """How much closer each image is to class 1 than to class 0, after every shift.

    Args:
        x, shifts, direction, side: as in ``classify``.
        y: float array (2, d), unit-norm rows: classes 0 and 1.

    Returns:
        float64 numpy array (k, n) in [-2, 2], the cosine with class 1 minus that with class 0. The probability
        softmax(cosines / temperature) of class 1 rises with it at every temperature, so ROC-AUC is the same.

    Paper: Table 1, Hateful Memes.
    """
    moved = _Shifted.of(x, y, shifts, direction, side)
    if len(y) != 2:
        raise UserError(f"y must have two rows, the classes 0 and 1; it has {len(y)}")
    products = torch.cat([block.double() @ moved.y.double().T for _, block in blocks(moved.x)])
    zero, one = (moved.cosines(products[:, j], slice(None), [j]) for j in range(2))
    return (one - zero).numpy()


def scores(x, y, shifts, direction=None, side: Side = "both") -> Iterator[Float[np.ndarray, "n c"]]:
    """Cosines of every row of x with every row of y after each shift, one shift after the other.

    Arguments as in ``classify``. Memory: two float64 arrays (n, c).
    """
    moved = _Shifted.of(x, y, shifts, direction, side)
    products = torch.cat([block.double() @ moved.y.double().T for _, block in blocks(moved.x)])
    for k in range(len(moved.row_offsets)):
        numerators = products + moved.row_offsets[k, :, None] - moved.column_offsets[k]
        yield (numerators * moved.row_inverse_norms[k, :, None] * moved.column_inverse_norms[k]).numpy()


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
            own, so recall@k is the share of ranks below k (``util.zero_shot.metrics.top_k``).
        text_ranks: int32 (k, m), in 0 to n - 1: how many images that are not the text's come before the best of its.

    Exactly equal rows are one item, which has the partners of all its copies. It is ranked once, and each copy gets
    its rank. Where items are to count once, as in a share or a p-value, give them once (``util.numerics.items``):

        own = items.matched(images, texts, pairs)
        found = shifted.retrieve(images[own.first], texts[own.second], own.pairs, shifts)

    ``own.groups`` says which items depend on each other: the ``groups`` of ``util.zero_shot.outcomes.Hits``.

    Time: one product, and k comparisons both ways for each of its entries; memory: one tile of the product and
    O(k (n + m + pairs)).
    """
    x, y = as_unit_tensors(x, y)
    pairs = _own_pairs(item_of, len(x), len(y))
    if not once:
        return _retrieved(_Shifted.of(x, y, shifts, direction, side), np.unique(pairs, axis=0))
    own = matched(x, y, pairs)
    if (len(own.first), len(own.second)) == (len(x), len(y)):
        return _retrieved(_Shifted.of(x, y, shifts, direction, side), own.pairs)
    found = _retrieved(_Shifted.of(x[own.first], y[own.second], shifts, direction, side), own.pairs)
    at = (np.searchsorted(rows, of) for rows, of in zip((own.first, own.second), own.items, strict=True))
    return Retrieved(*(ranks[:, places] for ranks, places in zip(found, at, strict=True)))


def _own_pairs(item_of, n: int, m: int) -> np.ndarray:
    """Row numbers (p, 2) that belong together; a row of either side that has no partner is refused."""
    given = np.asarray(to_numpy(item_of))
    if given.ndim == 2 and given.shape[1] == 2:
        sides = zip(given.T, ("x", "y"), (n, m), strict=True)
        columns = [
            as_indices(part, f"{of} of item_of", len(part), "pair", size, f"rows of {of}") for part, of, size in sides
        ]
    else:
        columns = [as_indices(given, "item_of", m, "row of y", n, "rows of x"), np.arange(m)]
    for rows, size, (of, one, other) in zip(
        columns, (n, m), (("x", "image", "text"), ("y", "text", "image")), strict=True
    ):
        lacking = np.flatnonzero(np.bincount(rows, minlength=size) == 0)
        if len(lacking):
            none = f"{len(lacking)} of {size} have none, first row {lacking[0]} of {of}"
            raise UserError(f"every {one} needs a{'n' * (other == 'image')} {other}: {none}; remove them")
    return np.stack(columns, axis=1)


def _retrieved(moved: _Shifted, pairs: np.ndarray) -> Retrieved:
    """Ranks of both sides from pairs (p, 2), each once."""
    pairs = torch.from_numpy(pairs[np.argsort(pairs[:, 1], kind="stable")])
    images, texts = pairs.T.contiguous()
    cosines = _own_cosines(moved, images, texts)
    best_text, first_text = _best_own(cosines, images, texts, len(moved.x))
    best_image, first_image = _best_own(cosines, texts, images, len(moved.y))
    shape = len(cosines), len(moved.x), len(moved.y)
    found = Retrieved(np.zeros(shape[:2], np.int32), np.zeros(shape[::2], np.int32))
    for rows, columns, right in _tiles(moved.x, moved.y):
        tile = moved.tile(rows, columns, right)
        start, end = torch.searchsorted(texts, torch.tensor([columns.start, columns.stop])).tolist()
        i, j = images[start:end] - rows.start, texts[start:end] - columns.start
        inside = (i >= 0) & (i < len(tile.products))
        tile.products[i[inside], j[inside]] = -torch.inf
        own = _kernel.Own(
            best_text[:, rows],
            first_text[:, rows] - columns.start,
            best_image[:, columns],
            first_image[:, columns] - rows.start,
        )
        by_row, by_column = _kernel.count(tile, own)
        found.image_ranks[:, rows] += by_row
        found.text_ranks[:, columns] += by_column
    return found


def _own_cosines(moved: _Shifted, images: Tensor, texts: Tensor) -> Tensor:
    """Cosine (k, p) of every pair after every shift."""
    sides = zip(blocks(images), blocks(texts), strict=True)
    parts = [(moved.x[i].double() * moved.y[j].double()).sum(1) for (_, i), (_, j) in sides]
    return moved.cosines(torch.cat(parts), images, texts)


def _best_own(cosines: Tensor, of: Tensor, partners: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The highest cosine (k, n) of every row with a partner of its own, and the first partner (k, n) that has it."""
    where, last = of.expand(len(cosines), -1), int(partners.max()) + 1
    best = cosines.new_full((len(cosines), n), -torch.inf).scatter_reduce_(1, where, cosines, "amax")
    having = torch.where(cosines >= best.gather(1, where) - _kernel.TIE, partners, last)
    return best, having.new_full((len(cosines), n), last).scatter_reduce_(1, where, having, "amin")


def _tiles(x: Tensor, y: Tensor):
    """Yields (row slice, column slice, y[columns] in float64); each column slice is converted once."""
    for left in range(0, len(y), TILE_COLUMNS):
        columns = slice(left, left + TILE_COLUMNS)
        right = y[columns].double()
        for top in range(0, len(x), TILE_ROWS):
            yield slice(top, top + TILE_ROWS), columns, right
