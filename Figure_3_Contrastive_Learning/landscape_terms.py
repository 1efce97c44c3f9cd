"""What ``loss_landscape.py`` measures of one set of embeddings: the pairs of each batch, the loss, its temperatures."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from util import Embeddings, UserError
from util.numerics import items
from util.numerics.arrays import as_count, as_numbers

KEYS = ("logit_scale", "logit_bias")
LEAST_SCALE = 10
"""A smaller logit scale beside the vectors may be its logarithm, which checkpoints store."""


def temperature_label(temperature: float) -> str:
    """A temperature as the paper writes it: 1/100 for 0.01, 1 for 1."""
    inverse = 1 / temperature
    if abs(inverse - round(inverse)) < 1e-6 * inverse:
        return "1" if round(inverse) == 1 else f"1/{round(inverse)}"
    return f"{temperature:.3g}"


class Terms(NamedTuple):
    """Pairs, the rows of each batch, and the loss: SigLIP's where there is a bias. ``said`` is for the terminal."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n d"]
    rows: Int[np.ndarray, "b size"]
    temperatures: tuple[float, ...]
    bias: float | None
    said: list[str]

    @property
    def count(self) -> str:
        """How many of the pairs are in a batch."""
        return f"{self.rows.size} of {len(self.x)} pairs"

    def facts(self) -> dict:
        """Results for the record: the pairs in batches and given, SigLIP's mean probability of a pair that matches."""
        found = {"n_pairs": self.rows.size, "n_given": len(self.x)}
        if self.bias is not None:
            cosines = (self.x.astype(np.float64) * self.y).sum(1)
            found["mean_matched_probability"] = float(expit(cosines / self.temperatures[0] + self.bias).mean())
        return found

    def left_out(self) -> list[str]:
        """A line where some pairs are in no batch."""
        why = f"what is left fills no batch of {self.rows.shape[1]}, in which nothing stands twice"
        return [f"the loss is of {self.count}: {why}"] if self.rows.size < len(self.x) else []


def terms(name: str, embeddings: Embeddings, settings) -> Terms:
    """Reads them off the settings and what stands beside the vectors; errors begin with the set's name."""
    x, y = embeddings.paired()
    rule = "which share no batch" if settings.embeddings else "and batches are of neighbours, as released"
    copies = items.copies_said(dict(zip(embeddings.two(), (x, y), strict=True)))
    said = [note for note in embeddings.source.get("notes", ()) if not note.endswith(tuple(copies))]
    said += [f"{line}, {rule}" for line in copies]
    try:
        loss = _loss(embeddings, settings, said)
        return Terms(x, y, _batches(x, y, settings), *loss, said)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _batches(x: np.ndarray, y: np.ndarray, settings) -> np.ndarray:
    """As released in the paper's data, and in your own so that no batch holds an image or a text twice."""
    n = len(x)
    size = n if settings.batch is None else as_count(settings.batch, "--batch")
    if size > n:
        raise UserError(f"--batch {size} is more than its {n} pairs; choose a smaller one")
    return items.batches(x, y, settings.batch) if settings.embeddings else items.consecutive(n, size)


def _loss(embeddings: Embeddings, settings, said: list[str]) -> tuple[tuple[float, ...], float | None]:
    """Temperatures, and SigLIP's bias or None."""
    beside = {key: as_numbers(np.ravel(embeddings.beside[key]), key) for key in KEYS if key in embeddings.beside}
    if settings.loss == "info_nce":
        said += [f"{key} {beside[key][0]:g} beside the vectors is not used" for key in beside]
        return settings.temperatures, None
    found = []
    options = ("--logit-scale", settings.logit_scale), ("--bias", settings.bias)
    for key, (option, given) in zip(KEYS, options, strict=True):
        if given is None and key not in beside:
            raise UserError(f"--loss sigmoid needs {option}: no {key} stands beside the vectors")
        if given is None and key == KEYS[0] and beside[key][0] < LEAST_SCALE:
            raise UserError(f"logit_scale {beside[key][0]:g} beside the vectors may be a logarithm; say --logit-scale")
        found.append(beside[key][0] if given is None else given)
        said += [f"{key} {found[-1]:g} is from beside the vectors"] if given is None else []
    scale, bias = map(float, found)
    if scale <= 0:
        raise UserError(f"--logit-scale must be above 0, not {scale:g}")
    return (1 / scale,), bias
