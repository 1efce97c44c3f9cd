"""A model while it is trained: gap, loss and recall@1 on held-out pairs, a zero-shot task, and its loss landscape."""

import math
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float

from trainable import Trainable
from training_pairs import TrainingPairs
from util import contrastive, geometry
from util.encoders.small_clip_training import SHIFTS
from util.numerics import procrustes
from util.training import Pairs
from util.zero_shot import shifted

Rows = Float[np.ndarray, "n d"]


class Meter:
    """Measures a changing model on held-out pairs at the steps of ``due``; elsewhere it gives nothing.

    ``batch`` is of the loss, ``text_map`` goes onto all texts.
    """

    def __init__(self, trainable: Trainable, corpus: TrainingPairs, batch: int, text_map: Rows | None, due: Collection):
        self.trainable, self.corpus, self.text_map, self.due = trainable, corpus, text_map, due
        self.batch = min(batch, len(corpus.held_out))

    def rows(self, pairs: Pairs) -> tuple[Rows, Rows]:
        """Unit rows of pairs, the texts under the map."""
        x, y = embeddings(self.trainable, pairs)
        return x, procrustes.mapped(y, self.text_map)

    def __call__(self, step: int) -> dict:
        """Columns of ``training.csv``, as one entry "held_out" beside the numbers of the training batches.

        Those of the zero-shot task, of all pictures and one prompt a class, are None without one.
        """
        if step not in self.due:
            return {}
        x, y = self.rows(self.corpus.held_out)
        tau = math.exp(-self.trainable.model.logit_scale.item())
        image_recall, text_recall = recall_at_1(x, y)
        found = {
            "gap_distance": geometry.gap_distance(x, y),
            "loss": contrastive.contrastive_loss(x, y, tau, self.batch, consecutive=True),
            "image_recall_at_1": image_recall,
            "text_recall_at_1": text_recall,
            "tau": tau,
        }
        accuracy = gap = None
        if (task := self.corpus.task) is not None:
            x = self.trainable.encode_pictures(task.pictures)
            prompts = procrustes.mapped(self.trainable.encode_tokens(task.prompts), self.text_map)
            accuracy = float((shifted.class_ranks(x, prompts, task.labels, [0.0]) == 0).mean())
            gap = geometry.gap_distance(x, prompts)
        return {"held_out": found | {"zero_shot_accuracy": accuracy, "zero_shot_gap_distance": gap}}

    def training_gap(self) -> float:
        """Gap distance of as many training pairs as are held out."""
        count, pairs = len(self.corpus.held_out), self.corpus.training
        return geometry.gap_distance(*self.rows(Pairs(pairs.images[:count], pairs.tokens[:count])))


def embeddings(trainable: Trainable, pairs: Pairs) -> tuple[Rows, Rows]:
    """Unit rows of pictures and captions."""
    return trainable.encode_pictures(pairs.images), trainable.encode_tokens(pairs.tokens)


def recall_at_1(x: Rows, y: Rows) -> tuple[float, float]:
    """Recall@1 of paired unit rows among all n, image to text (an image asks) and text to image.

    Trap: the released code names them by what is retrieved, so its "Image R@1" is the second.
    """
    image_ranks, text_ranks = shifted.retrieve(x, y, np.arange(len(x)), [0.0], once=False)
    return float((image_ranks == 0).mean()), float((text_ranks == 0).mean())


def landscape(x: Rows, y: Rows, temperatures: Sequence[float], batch: int) -> list[dict]:
    """The signed gap distance at the lowest loss of ``SHIFTS``, at each temperature, beside their own gap and loss."""
    losses = contrastive.sweep(x, y, SHIFTS, temperatures, batch, consecutive=True)
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
