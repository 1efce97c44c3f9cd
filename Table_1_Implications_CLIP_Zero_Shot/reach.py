"""How far a shift can change a task at all: through one number for each candidate, its projection on the gap vector.

An image x is held against texts y. A shift moves x by a against the unit gap vector u and y by b along it, and

    cos = (s + b p - a q - a b) / (||x - a u|| sqrt(1 + 2 b q + b^2))    with s = <x, y>, p = <x, u>, q = <y, u>.

An image's own norm is the same for every text, so its decision changes only because the q of the texts differ. Text to
image, the two change places.
"""

import numpy as np
from jaxtyping import Bool, Float

from util.geometry import Side, gap_distance, side_amounts, unit_gap_vector
from util.numerics.arrays import blocks
from util.zero_shot import evaluation
from util.zero_shot.selection import Hits
from util.zero_shot.tasks import EmbeddedTask

COLUMNS = (
    "dataset", "metric", "model", "side", "n", "spread", "lowest", "highest", "margin", "can_change", "changes",
    "gained", "lost",
)  # fmt: skip


def reach(task: EmbeddedTask, shifts: Float[np.ndarray, "k"], side: Side) -> list[dict]:
    """Which items can change from right to wrong or back at any shift, from their margins alone, and which do.

    Shifts are along the task's own gap vector, with 0 among them.

    Returns:
        a row for each metric of hits that a shift is chosen by. spread, lowest, highest: of the candidates' projections
        q. margin: median distance of the cosine with the best right candidate from that with the best wrong one.
        can_change: share of items that would change if the candidate that is ahead had the worst of all q and the other
        the best, at any shift: no shift can change others. changes: share that do at any shift. gained, lost: of these,
        wrong or right without a shift.
    """
    images, texts, unit, rows = task.images, task.texts, unit_gap_vector(task.images, task.texts), []
    against, along = side_amounts(shifts, side)
    ways = {True: (texts, images, -unit, along, against), False: (images, texts, unit, against, along)}
    pairs = task.labels if task.is_retrieval else np.stack([np.arange(len(images)), task.labels], axis=1)
    outcomes = evaluation.sweep(task, shifts, unit, side)
    for metric, found in ((metric, outcomes[metric]) for metric in task.headlines):
        if not isinstance(found, Hits):
            continue
        of_texts = task.is_retrieval and metric.startswith(task.ways[1])
        items, candidates, u, a, b = ways[of_texts]
        right, wrong = _best(items, candidates, pairs[:, ::-1] if of_texts else pairs)
        q, before = candidates @ u, found.items[shifts == 0][0]
        can, changes = can_change(right, wrong, items @ u, q, a, b), (found.items != before).any(0)
        about = {"dataset": task.dataset, "metric": metric, "model": task.model, "side": side, "n": found.n}
        about |= {"spread": q.std(), "lowest": q.min(), "highest": q.max(), "margin": np.median(abs(right - wrong))}
        about |= {"can_change": can.mean(), "changes": changes.mean()}
        rows.append({**about, "gained": (changes & ~before).mean(), "lost": (changes & before).mean()})
    return rows


def can_change(right, wrong, p, q, against, along) -> Bool[np.ndarray, "n"]:
    """Whether the candidate that is behind can come to lie ahead, at any shift and with any projections in q's range.

    Args:
        right, wrong, p: (n,) best cosines with a right and a wrong candidate, and the items' projections.
        q: projections of the candidates.
        against, along: (k,) how far items and candidates move.
    """
    can, ends = np.zeros(len(p), bool), (q.min(), q.max())
    ahead, behind = np.maximum(right, wrong), np.minimum(right, wrong)
    for a, b in zip(against, along, strict=True):
        top = -(a + b * behind + b * b * p) / (a * b) if a * b else p  # the cosine's maximum over q, where it has one
        highest = [_cosine(behind, p, each, a, b) for each in (*ends, np.clip(top, *ends))]
        can |= np.max(highest, axis=0) >= np.min([_cosine(ahead, p, each, a, b) for each in ends], axis=0)
    return can


def _cosine(s, p, q, a, b):
    """The cosine after a shift, times the item's own norm."""
    return (s + b * p - a * q - a * b) / np.sqrt(1 + 2 * b * q + b * b)


def _best(items: np.ndarray, candidates: np.ndarray, pairs: np.ndarray) -> Float[np.ndarray, "2 n"]:
    """Every item's highest cosine with a candidate of its own, and with another."""
    found = np.empty((2, len(items)))
    for start, block in blocks(items):
        of, to = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < start + len(block))].T
        cosines, own = block @ candidates.T, np.zeros((len(block), len(candidates)), bool)
        own[of - start, to] = True
        for way, mask in zip(found, (own, ~own), strict=True):
            way[start : start + len(block)] = cosines.max(1, where=mask, initial=-np.inf)
    return found


def gaps_of(task: EmbeddedTask) -> dict:
    """How far apart a task's images and prompts are, and how like the caption corpus' gap vector theirs is."""
    own = unit_gap_vector(task.images, task.texts)
    corpus = np.full(len(own), np.nan) if task.caption_gap is None else task.caption_gap
    length = float(np.linalg.norm(corpus))
    (n, dim), distance = task.images.shape, gap_distance(task.images, task.texts)
    about = {"dataset": task.dataset, "model": task.model, "n": n, "n_texts": len(task.texts), "dim": dim}
    return {**about, "task_gap": distance, "captions_gap": length, "cosine_of_directions": float(own @ corpus / length)}
