"""Table 1's speed: classification and retrieval at 40 shifts beside the procedures as released.

Ours gives, for all 40 shifts, top-1, top-5 and per-class accuracies, or recall@1, 5 and 10 both ways. The released
procedures, which give less, run at a few shifts, and count as often as 40 shifts need.
"""

import numpy as np

import frame
import released
from frame import SHIFTS, compared, pairs
from util.zero_shot.shifted import class_ranks, retrieve

KS = (1, 5, 10)


def classification(settings: frame.Settings) -> dict:
    """Accuracies of all shifts."""
    n, classes = settings.size(10_000, 500), settings.size(100, 20)
    x, y = pairs(n, settings.seed)
    y, labels = y[:classes].copy(), np.arange(n) % classes
    by_class, starts = np.argsort(labels), np.searchsorted(np.sort(labels), np.arange(classes))

    def ours(shifts):
        ranks = class_ranks(x, y, labels, shifts)
        np.add.reduceat(ranks[:, by_class] < 1, starts, axis=1, dtype=np.int64)  # hits of each class
        return np.stack([(ranks < k).mean(1) for k in KS[:2]])

    def theirs(shifts):
        return released.classification(x, y, labels, shifts, KS[:2])

    what = f"classification, {n} images x {classes} classes x {len(SHIFTS)} shifts"
    return compared(what, 40, ours, theirs, settings.runs, SHIFTS[::10], atol=2e-3)


def retrieval(settings: frame.Settings) -> dict:
    """Recalls both ways of all shifts."""
    n = settings.size(5000, 200)
    x, y = pairs(n, settings.seed)

    def ours(shifts):
        found = retrieve(x, y, np.arange(n), shifts)
        return np.stack([[(ranks < k).mean(1) for k in KS] for ranks in found])

    def theirs(shifts):
        return released.retrieval(x, y, shifts, KS)

    what = f"retrieval both ways, {n} x {n} x {len(SHIFTS)} shifts"
    return compared(what, 40, ours, theirs, settings.runs, SHIFTS[::10], atol=2e-3)


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """Both rows."""
    return {"": [classification(settings), retrieval(settings)]}


if __name__ == "__main__":
    frame.main("zero_shot", "Table 1: speed", measure, __doc__)
