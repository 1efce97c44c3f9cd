"""What stands beside the vectors, in the forms that people keep it in: labels, pairs, ids, prompts by template."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import UserError
from ..numerics.arrays import nonzero_norms
from .names import TEXT, SortedOut, role


def checked_pairs(pairs, counts: list[int], prefix: str) -> np.ndarray | None:
    """Row numbers (p, modalities) as int64; p = 0 says that nothing is paired."""
    if pairs is None:
        return None
    found = _array(pairs)
    if found.ndim != 2 or found.shape[1] != len(counts) or found.dtype.kind not in "iu":
        what = f"pairs must be whole numbers of shape (pairs, {len(counts)}), found {found.dtype} {found.shape}"
        raise UserError(f"{prefix}{what}")
    if len(found) == 1 or (found < 0).any() or (found >= counts).any():
        raise UserError(f"{prefix}pairs must be at least two rows of row numbers below {counts}")
    return found.astype(np.int64)


def one_order(pairs, names: Sequence[str], stored: Sequence[str], counts: Sequence[int], path: str) -> None:
    """Refuses pairs whose columns may as well be in the order of ``stored`` as in that of ``names``."""
    found = _array(pairs)
    if [*names] == [*stored] or found.ndim != 2 or found.shape[1] != len(names) or not len(found):
        return
    turned = found[:, [stored.index(name) for name in names]]
    if (found < counts).all() and (turned < counts).all() and {*map(tuple, found)} != {*map(tuple, turned)}:
        how = f"give --pairs a table with the columns {' and '.join(names)}, or store {names[0]} first"
        raise UserError(f"{path}: which column of the pairs is of {names[0]} cannot be told; {how}")


def _array(values) -> np.ndarray:
    """Values of somebody else as an array; one of objects where they are none."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.empty(0, object)


def checked_labels(labels, counts: Mapping[str, int], classes, prefix: str) -> np.ndarray | None:
    """Labels of the first modality's rows, one class each or, as bool (n, C), several.

    They are whole numbers, booleans, strings, or a column for each class. ``counts`` are the rows of each modality.
    Strings are looked up in ``classes``, names (C,), or with None kept.
    """
    if labels is None:
        return None
    found = _array(labels)
    first, count = next(iter(counts.items()))
    if found.dtype.kind not in "biufU" or found.ndim not in (1, 2) or len(found) != count:
        what = f"labels must be {count} numbers or strings, as {first} has rows"
        raise UserError(f"{prefix}{what}; found {found.dtype} {found.shape}")
    if found.ndim == 2 and found.shape[1] > 1:
        if found.dtype.kind == "U" or not np.isin(found, (0, 1)).all():
            raise UserError(f"{prefix}labels in {found.shape[1]} columns must be 0 or 1: a column for each class")
        return found.argmax(1) if (found.sum(1) == 1).all() else found.astype(bool)
    found = found.reshape(-1)
    if found.dtype.kind == "U":
        if (found == "").any():
            raise UserError(f"{prefix}labels name classes; row {int((found == '').argmax())} has none; mend it")
        names = [] if classes is None else [*map(str, classes)]
        if not names or len({*names}) < len(names):
            return found
        if not (known := np.isin(found, names)).all():
            row, there = int(known.argmin()), f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            what = f"{(~known).sum()} of {len(found)} labels are no class, first '{found[row]}' in row {row}"
            raise UserError(f"{prefix}{what}; classes are {there}")
        return np.argsort(names)[np.searchsorted(np.sort(names), found)]
    whole = np.isfinite(found) & (found == found.round())
    if not whole.all():
        row = int(whole.argmin())
        raise UserError(f"{prefix}labels name classes; row {row} has {found[row]}, no whole number")
    return found.astype(np.int64)


def as_rows(found: SortedOut, path: str) -> tuple[SortedOut, list[str]]:
    """Texts of several templates as the mean of their unit rows, and texts stored by column as rows; both are said."""
    notes, modalities = [], dict(found.modalities)
    widths = {array.shape[-1] for name, array in modalities.items() if role(name) != TEXT and array.ndim == 2}
    for name, array in found.modalities.items():
        if role(name) != TEXT:
            continue
        if array.ndim == 3:
            modalities[name], said = _mean_of_templates(array, found.beside, f"{path}: {name}")
        elif len(widths) == 1 and array.shape[1] not in widths and array.shape[0] in widths:
            modalities[name] = np.asarray(array).T
            said = "holds a column for each text, for its rows are as wide as others"
        else:
            continue
        notes.append(f"{path}: {name} {array.shape}: {said}")
    return replace(found, modalities=modalities), notes


def _mean_of_templates(array: np.ndarray, beside: Mapping, where: str) -> tuple[np.ndarray, str]:
    """(C, T, d) or (T, C, d) as unit rows (C, d): the mean over templates of unit rows."""
    labels, classes = beside.get("labels"), beside.get("classes")
    known, every, least = None if classes is None else len(classes), set(), 2  # of all C labels name, C at the least
    if known is None and labels is not None and labels.dtype.kind in "iufb" and labels.size:
        if labels.ndim == 2:
            known = labels.shape[1]
        else:
            least = int(labels.max()) + int(labels.min() != 1)  # labels without 0 may count from 1
            every = {len(np.unique(labels)), least}
    axes = [axis for axis in (0, 1) if array.shape[axis] == known or (known is None and array.shape[axis] >= least)]
    if array.shape[0] in every and array.shape[1] not in every:
        axes = [0]  # (C, T, d) of labels that name all C
    if len(axes) == 2 and 1 in array.shape[:2]:
        axes = [int(array.shape[0] == 1)]
    if len(axes) != 1:
        how = "store (classes, templates, width) beside labels and class names, or the mean over templates"
        raise UserError(f"{where} {array.shape}: which axis is of the classes cannot be told; {how}")
    rows = np.moveaxis(np.asarray(array), axes[0], 0)
    count, several, width = rows.shape
    mean = unit_means(rows.reshape(-1, width), np.repeat(np.arange(count), several), where)
    return mean, f"mean of {several} templates for each of {count} classes"


def unit_means(rows, numbers: np.ndarray, where: str) -> np.ndarray:
    """Unit rows (C, d): the mean direction of the rows (m, d) of each number (m,), as of the templates of a class."""
    rows = np.asarray(rows[:], np.float64)
    sums = np.zeros((numbers.max() + 1, rows.shape[1]))
    np.add.at(sums, numbers, rows / nonzero_norms(rows, where)[:, None])
    return sums / nonzero_norms(sums, where)[:, None]
