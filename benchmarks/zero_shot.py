"""The tables' speed and memory: classification and retrieval at 40 shifts beside the procedures as released.

Ours gives, for all 40 shifts, top-1, top-5 and per-class accuracies, or recall@1, 5 and 10 both ways. The released
procedures, which give less, run at a few shifts, and count as often as 40 shifts need.
"""

import numpy as np

import frame
import released
from frame import SHIFTS, compared, fact, pairs, seconds
from util.fairness.audit import Answers, Faces, audit
from util.fairness.declared import Declared
from util.zero_shot import metrics
from util.zero_shot.shifted import classify, predict, retrieve

KS = (1, 5, 10)


def classification(settings: frame.Settings) -> dict:
    """Accuracies of all shifts."""
    n, classes = settings.size(10_000, 500), settings.size(100, 20)
    x, y = pairs(n, settings.seed)
    y, labels = y[:classes].copy(), np.arange(n) % classes

    def ours(shifts):
        found = classify(x, y, labels, shifts)
        metrics.mean_per_class_recall(found.predicted, labels, classes)
        return np.stack([metrics.top_k(found.ranks, k) for k in KS[:2]])

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
        return np.stack([[metrics.top_k(ranks, k) for k in KS] for ranks in found])

    def theirs(shifts):
        return released.retrieval(x, y, shifts, KS)

    what = f"retrieval both ways, {n} x {n} x {len(SHIFTS)} shifts"
    return compared(what, 40, ours, theirs, settings.runs, SHIFTS[::10], atol=2e-3)


def table_2(settings: frame.Settings) -> dict:
    """Table 2 from embeddings of FairFace's size: the classes, harm rates and tests at all shifts."""
    declared, rng, n = Declared.read(), np.random.default_rng(settings.seed), settings.size(10_954, 300)
    x, y = pairs(n, settings.seed)
    y = y[: len(declared.prompts)].copy()
    faces = Faces(declared, rng.integers(0, 7, n), rng.integers(0, 2, n))
    shifts = np.round(np.arange(-20, 16) * 0.05, 2)

    def ours():
        answers = Answers(predict(x, y, shifts, side="first"), faces, shifts)
        return [audit(answers, shifts, axes) for axes in ((), ("race",), ("race", "gender"))]

    took = seconds(ours, settings.runs)
    what = f"Table 2 from embeddings, {n} faces x {len(y)} prompts x {len(shifts)} shifts, seconds (bar 0.5)"
    return fact(what, np.median(took))


def memory(settings: frame.Settings) -> list[dict]:
    """Memory of a large retrieval on the CPU, two texts for each image, and its seconds."""

    def inputs(n: int) -> tuple:
        x, y = pairs(2 * n, settings.seed)
        return x[:n].copy(), y, np.arange(2 * n) % n, SHIFTS[19:21]

    n = settings.size(25_000, 600)
    grown, took = frame.in_fresh_process(retrieve, inputs(300), inputs(n))
    what = f"retrieval both ways, {2 * n} x {n} x 2 shifts"
    return [
        fact(f"{what}: memory beyond inputs, MB", grown),
        fact(f"an array of all {2 * n} x {n} cosines in float32, MB", 2 * n * n * 4 / 2**20),
        fact(f"{what}: seconds", took),
    ]


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """All rows and facts."""
    rows = [classification(settings), retrieval(settings)]
    return {"": rows, "facts": [table_2(settings), *memory(settings)]}


if __name__ == "__main__":
    frame.main("zero_shot", "Tables 1 and 2: speed and memory", measure, __doc__)
