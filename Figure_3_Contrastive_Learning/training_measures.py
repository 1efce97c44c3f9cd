"""A model while it is trained: gap, loss, recall@1, zero-shot accuracy on held-out pairs, and its loss landscape."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from training_pairs import Trainable, TrainingPairs
from util import contrastive, geometry
from util.numerics import procrustes
from util.training import Pairs

SHIFTS = tuple(round(-2.0 + 0.05 * i, 2) for i in range(81))
"""Two-sided shifts of the landscape; positive closes the gap."""

Rows = Float[np.ndarray, "n d"]


class Meter:
    """Measures a changing model on held-out pairs; ``batch`` is of the loss, ``text_map`` goes onto the texts."""

    def __init__(self, trainable: Trainable, corpus: TrainingPairs, batch: int, text_map: Rows | None = None):
        self.trainable, self.corpus, self.text_map = trainable, corpus, text_map
        self.batch = min(batch, len(corpus.held_out))

    def rows(self, pairs: Pairs) -> tuple[Rows, Rows]:
        """Unit rows of pairs, the texts under the map."""
        x, y = embeddings(self.trainable, pairs)
        return x, procrustes.mapped(y, self.text_map)

    def __call__(self, step: int) -> dict:
        """Columns of ``training.csv``, as one entry "held_out" beside the numbers of the training batches."""
        x, y = self.rows(self.corpus.held_out)
        tau = math.exp(-self.trainable.model.logit_scale.item())
        image_recall, text_recall = recall_at_1(x, y)
        found = {
            "gap_distance": geometry.gap_distance(x, y),
            "loss": contrastive.contrastive_loss(x, y, tau, self.batch),
            "image_recall_at_1": image_recall,
            "text_recall_at_1": text_recall,
            "zero_shot_accuracy": self.zero_shot(x),
            "tau": tau,
        }
        return {"held_out": found}

    def zero_shot(self, x: Rows) -> float | None:
        """Share of the pictures whose nearest prompt is that of their class; None without a task."""
        if self.corpus.classes is None:
            return None
        prompts = procrustes.mapped(self.trainable.encode_tokens(self.corpus.classes), self.text_map)
        return float(((x @ prompts.T).argmax(1) == self.corpus.labels).mean())

    def training_gap(self) -> float:
        """Gap distance of as many training pairs as are held out."""
        count, pairs = len(self.corpus.held_out), self.corpus.training
        return geometry.gap_distance(*self.rows(Pairs(pairs.images[:count], pairs.tokens[:count])))


def embeddings(trainable: Trainable, pairs: Pairs) -> tuple[Rows, Rows]:
    """Unit rows of pictures and captions."""
    return trainable.encode_pictures(pairs.images), trainable.encode_tokens(pairs.tokens)


def recall_at_1(x: Rows, y: Rows) -> tuple[float, float]:
    """Image and text recall@1 of paired unit rows, named by what is *retrieved*, as in the released code.

    Image recall@1 is the share of texts whose nearest image is their own, text recall@1 the share of images whose
    nearest text is their own. The first of equally near ones counts as the nearest. Both depend on n.
    """
    cosines, own = x @ y.T, np.arange(len(x))
    return float((cosines.argmax(0) == own).mean()), float((cosines.argmax(1) == own).mean())


def landscape(x: Rows, y: Rows, temperatures: Sequence[float], batch: int) -> list[dict]:
    """The signed gap distance at the lowest loss of ``SHIFTS``, at each temperature, beside their own gap and loss."""
    losses = contrastive.sweep(x, y, SHIFTS, temperatures, batch)
    distances, here = geometry.signed_gap_distances(x, y, SHIFTS), SHIFTS.index(0)
    return [
        {
            "evaluated_temperature": float(tau),
            "own_gap": float(distances[here]),
            "own_loss": float(curve[here]),
            "gap_at_minimum": float(distances[best := int(curve.argmin())]),
            "lowest_loss": float(curve[best]),
            "shift_at_minimum": SHIFTS[best],
        }
        for tau, curve in zip(temperatures, losses.T, strict=True)
    ]
