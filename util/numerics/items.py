"""One item is one item: exactly equal rows are the same image, or the same text, however often they stand in a file.

Captions are often stored beside a copy of their image. Such copies are partners of each other's partners. They are
never each other's negatives: not in recall, not in a p-value, not in a batch of the loss.
"""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from .. import UserError
from .arrays import Others, Rows, blocks, to_numpy, wide

DIGEST = 16
"""Bytes of a row's hash: two different rows share one with probability 2**-128."""


class Matched(NamedTuple):
    """The items of two modalities that have a partner, each once, and who belongs to whom.

    Items of one group, which pairs join directly or through others, are not independent: they are resampled, exchanged
    and split together.
    """

    first: Int[np.ndarray, "a"]  # the first row of each item of x, ascending
    second: Int[np.ndarray, "b"]  # and of y
    pairs: Int[np.ndarray, "p 2"]  # places in first and second, sorted, each pair once
    items: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]  # of all rows of both, as ``items`` gives them
    groups: tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]  # the number of the group of each item


def items(rows: Rows) -> Int[np.ndarray, "n"]:
    """The number of the first row that equals each row exactly, its own where none does; -0.0 equals 0.0.

    Time: one weighted sum of each row's bits, and a hash of rows whose sum another has. Memory: 8 bytes a row.
    """
    item, weights = np.arange(len(rows)), np.random.default_rng(0).integers(0, 2**64, rows.shape[1] * 4, np.uint64)
    sums = [np.einsum("ij,j->i", bits := _bits(block), weights[: bits.shape[1]]) for _, block in blocks(rows)]
    _, of, count = np.unique(np.concatenate(sums), return_inverse=True, return_counts=True)
    alike = np.flatnonzero(count[of] > 1)
    hashes = [blake2b(row, digest_size=DIGEST).digest() for _, some in blocks(alike) for row in _bits(rows[some])]
    _, first, same = np.unique(np.array(hashes, f"V{DIGEST}"), return_index=True, return_inverse=True)
    item[alike] = alike[first[same]]
    return item


def _bits(block: Rows) -> Int[np.ndarray, "n k"]:
    """The bits of rows as whole numbers of 32 bits at most."""
    values = block if isinstance(block, np.ndarray) else to_numpy(wide(block))
    values = values.astype(np.float64) if values.dtype.itemsize > 8 else values  # long doubles hold unused bytes
    values = np.ascontiguousarray(values + values.dtype.type(0))
    return values.view(f"u{min(4, values.itemsize)}")


def matched(x: Rows, y: Others, pairs: Int[np.ndarray, "p 2"]) -> Matched:
    """The items of ``pairs``, row numbers that belong together; a copy has the partners of all its copies."""
    named = items(x), items(y)
    (first, at_first), (second, at_second) = (
        np.unique(of[rows], return_inverse=True) for of, rows in zip(named, pairs.T, strict=True)
    )
    places = np.unique(np.stack([at_first, at_second], axis=1), axis=0)
    return Matched(first, second, places, named, groups(places, len(first), len(second)))


def groups(pairs: Int[np.ndarray, "p 2"], n: int, m: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]:
    """The number of the group, from 0, of each of n and of m items that pairs join, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], n + pairs[:, 1])), (n + m, n + m))
    found = connected_components(edges, directed=False)[1].astype(np.int64)
    return found[:n], found[n:]


def batches(x: Rows, y: Rows, size: int | None = None) -> Int[np.ndarray, "b size"]:
    """The pairs (x[i], y[i]) of each batch of a loss: in order, and no batch holds an image or a text twice.

    A pair whose image or text already stands in the batch waits for the next one. What cannot fill a last batch is
    left out. ``size`` None makes one batch, of all pairs but those that would have to wait.
    """
    n = len(x)
    of_x, of_y = items(x), items(y)
    if all((of == np.arange(n)).all() for of in (of_x, of_y)):
        return consecutive(n, size or n)
    of_x, of_y, most = of_x.tolist(), of_y.tolist(), size or n
    fresh, waiting, found = iter(range(n)), [], []
    while True:
        before, batch, later, seen_x, seen_y = iter(waiting), [], [], set(), set()
        for pair in chain(before, fresh):
            if of_x[pair] in seen_x or of_y[pair] in seen_y:
                later.append(pair)
                continue
            batch.append(pair)
            seen_x.add(of_x[pair])
            seen_y.add(of_y[pair])
            if len(batch) == most:
                break
        if size is None:
            return np.array([batch])
        if len(batch) < size:
            break
        found.append(batch)
        waiting = [*later, *before]
    if not found:
        raise UserError(f"batch must be at most {len(batch)}: no more pairs of different items are there, not {size}")
    return np.array(found)


def consecutive(n: int, size: int) -> Int[np.ndarray, "b size"]:
    """Batches of neighbours, as released, equal or not; an incomplete last one is dropped."""
    return np.arange(n // size * size).reshape(-1, size)


def copies(modalities: Mapping[str, Rows]) -> dict[str, int]:
    """How many rows of each modality equal an earlier one exactly."""
    return {name: len(rows) - len(np.unique(items(rows))) for name, rows in modalities.items()}


def copies_said(modalities: Mapping[str, Rows], copied: Mapping[str, int] | None = None) -> list[str]:
    """A sentence for each modality with equal rows, ``copied`` of them where that is known."""
    said = []
    for name, equal in (copies(modalities) if copied is None else copied).items():
        if equal:
            n = len(modalities[name])
            said.append(f"{name}: {equal} of {n} rows equal an earlier one exactly, {n - equal} items")
    return said
