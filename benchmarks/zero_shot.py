"""The tables' speed and memory: classification and retrieval at 40 shifts beside the procedures as released.

    python benchmarks/zero_shot.py                     (about 3 minutes on 2 cores)
    python benchmarks/zero_shot.py --preset smoke      (small, to try it out)
    python benchmarks/zero_shot.py --device cuda       (ours on the GPU; the released procedures stay on the CPU)

Ours gives, for all 40 shifts, top-1, top-5 and per-class accuracies, or recall@1, 5 and 10 both ways. The released
procedures, which give less, run at a few shifts, and count as often as 40 shifts need.
"""

from dataclasses import dataclass

import numpy as np
import torch

import frame
import released
from frame import SHIFTS, WIDTH, fact, pairs, row, seconds
from util.fairness.audit import Faces, audit
from util.fairness.declared import Declared
from util.geometry import unit_rows
from util.zero_shot import metrics
from util.zero_shot.shifted import classify, predict, retrieve

KS = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    images: int = 10_000
    """Images to classify."""
    classes: int = 100
    """Classes to choose from."""
    queries: int = 5000
    """Images, and texts, of retrieval."""
    faces: int = 10_954
    """Faces of Table 2."""
    texts: int = 50_000
    """Texts, two for each image, of the retrieval whose memory is measured."""
    timed: int = 4
    """Shifts at which the released procedures are timed."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", images=500, classes=20, queries=200, faces=300, texts=1200, repeats=1, timed=2),
}


def classification(settings: Settings, device: str) -> dict:
    """Accuracies of all shifts; both procedures must find the same."""
    x, y = pairs(settings.images, WIDTH, settings.seed)
    y, labels = y[: settings.classes].copy(), np.arange(settings.images) % settings.classes
    some = SHIFTS[:: len(SHIFTS) // settings.timed]

    def ours(shifts=SHIFTS):
        found = classify(x, y, labels, shifts)
        accuracies = [metrics.top_k(found.ranks, k) for k in KS[:2]]
        return np.stack(accuracies), metrics.mean_per_class_recall(found.predicted, labels, len(y))

    theirs = []
    took = seconds(lambda: theirs.append(released.classification(x, y, labels, some, KS[:2])), 1)
    x, y = _on(device, x, y)
    assert np.allclose(ours(some)[0], theirs[0], atol=2e-3), "the two procedures disagree"
    what = f"classification, {len(x)} images x {len(y)} classes x {len(SHIFTS)} shifts"
    return _compared(what, settings, ours, took, len(some))


def retrieval(settings: Settings, device: str) -> dict:
    """Recalls both ways of all shifts; both procedures must find the same."""
    x, y = pairs(settings.queries, WIDTH, settings.seed)
    some = SHIFTS[:: len(SHIFTS) // settings.timed]

    def ours(shifts=SHIFTS):
        found = retrieve(x, y, np.arange(len(x)), shifts)
        return np.stack([[metrics.recall_at(ranks, k) for k in KS] for ranks in found])

    theirs = []
    took = seconds(lambda: theirs.append(released.retrieval(x, y, some, KS)), 1)
    x, y = _on(device, x, y)
    assert np.allclose(ours(some), theirs[0], atol=2e-3), "the two procedures disagree"
    what = f"retrieval both ways, {len(x)} x {len(y)} x {len(SHIFTS)} shifts"
    return _compared(what, settings, ours, took, len(some))


def _on(device: str, *arrays: np.ndarray) -> tuple:
    """Arrays as they are for the CPU's kernel, or on the GPU; results come back as numpy, which waits for it."""
    return arrays if device == "cpu" else tuple(torch.from_numpy(array).cuda() for array in arrays)


def _compared(what: str, settings: Settings, ours, theirs: list[float], timed: int) -> dict:
    what += f" (released: {timed} shifts timed, times {len(SHIFTS)} / {timed})"
    return row(what, 40, seconds(ours, settings.repeats), theirs, times=len(SHIFTS) // timed)


def table_2(settings: Settings, device: str) -> dict:
    """Table 2 from embeddings of FairFace's size: the classes, harm rates and tests at all shifts."""
    declared = Declared.read()
    rng, n = np.random.default_rng(settings.seed), settings.faces
    x, y = pairs(max(n, len(declared.prompts)), WIDTH, settings.seed)
    x, y = _on(device, x[:n], y[: len(declared.prompts)].copy())
    faces = Faces(rng.integers(0, 7, n), rng.integers(0, 2, n), declared.race.levels, declared.gender.levels)
    shifts = np.round(np.arange(-20, 16) * 0.05, 2)

    def ours():
        return audit(predict(x, y, shifts, side="first"), faces, declared, shifts, shifts)

    what = f"Table 2 from embeddings, {n} faces x {len(y)} prompts x {len(shifts)} shifts"
    return fact(f"{what}, seconds (bar 0.5)", float(np.median(seconds(ours, settings.repeats))))


def _retrieval(texts: int, seed: int, shifts: int):
    rng, items = np.random.default_rng(seed), np.arange(texts) % (texts // 2)
    x = unit_rows(rng.standard_normal((texts // 2, WIDTH), np.float32) + 0.5)
    y = unit_rows(rng.standard_normal((texts, WIDTH), np.float32) - 0.5)
    retrieve(x[:300], y[:300], np.arange(300), SHIFTS[:shifts])
    return lambda: sum(part.nbytes for part in retrieve(x, y, items, SHIFTS[19 : 19 + shifts]))


def memory(settings: Settings, shifts: int = 2) -> list[dict]:
    """Memory of a large retrieval on the CPU beyond inputs and results, and its seconds."""
    grown, took = frame.in_fresh_process(_retrieval, settings.texts, settings.seed, shifts)
    size = f"{settings.texts} x {settings.texts // 2}"
    what = f"retrieval both ways, {size} x {shifts} shifts"
    return [
        fact(f"{what}: memory beyond inputs and results, MB", grown),
        fact(f"an array of all {size} cosines in float32, MB", settings.texts**2 // 2 * 4 / 2**20),
        fact(f"{what}: seconds", took),
    ]


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """All rows and facts."""
    x, y = _on(device, *pairs(300, WIDTH, settings.seed))
    classify(x, y, np.arange(300), SHIFTS)  # the first calls compile
    retrieve(x, y, np.arange(300), SHIFTS)
    rows = [classification(settings, device), retrieval(settings, device)]
    return {"": rows, "facts": [table_2(settings, device), *memory(settings)]}


if __name__ == "__main__":
    frame.main("zero_shot", "Tables 1 and 2: speed and memory", PRESETS, measure, __doc__)
