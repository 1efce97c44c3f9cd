"""Measure, explain and shift the modality gap of any embeddings.

import util
embeddings = util.Embeddings.load("mine.npz")
images, texts = embeddings.paired()
util.geometry.gap_distance(images, texts)
util.contrastive.sweep(images, texts, shifts=[0, 0.25], temperatures=[0.01])
util.measure("mine.npz")
util.report("mine.npz", output="gap.html")

Every module is there after ``import util``, and is imported when it is first used.
"""

from ._lazy import attributes

__getattr__, __dir__ = attributes(
    __name__, Embeddings="embeddings", UserError="errors", measure="measures", report="explorer"
)
