"""The contrastive loss of pairs some of which are mismatched, and the logit scale that such data asks for.

"Mismatched" as in the paper: the text that belongs to an image is not the one that lies beside it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import softmax

from util.contrastive import LEAST_TEMPERATURE
from util.errors import UserError
from util.numerics.arrays import as_count, as_numbers

MOST_FRACTION = 0.5
"""Largest fraction of mismatched pairs."""

ENTRIES = 2**15
"""Most entries of products held at a time, 256 kB of float64: they stay in the cache of one core."""

TIE = 1e-12
"""Differences between mean cosines up to this are rounding."""


class Matches(NamedTuple):
    """Which text belongs to each image (n,), and which image to each text (n,), as row numbers."""

    text_of: Int[np.ndarray, "n"]
    image_of: Int[np.ndarray, "n"]

    @classmethod
    def of(cls, text_of) -> "Matches":
        """Matches from the text of each image, a permutation of 0 to n - 1.

        Raises:
            UserError: not a permutation.
        """
        text_of = np.asarray(text_of)
        if text_of.ndim != 1 or sorted(text_of.tolist()) != list(range(len(text_of))):
            raise UserError(f"matches must be a permutation of 0 to {text_of.size - 1}, not {text_of.tolist()}")
        return cls(text_of, np.argsort(text_of))

    @property
    def fraction(self) -> float:
        """Fraction of images whose text does not lie beside them at position zero."""
        return float((self.text_of != np.arange(len(self.text_of))).mean())


class PairLosses(NamedTuple):
    """Losses (matches, positions, temperatures) in nats: both directions averaged, and image-to-text alone."""

    symmetric: Float[np.ndarray, "m p t"]
    to_text: Float[np.ndarray, "m p t"]


def mismatched(n: int, fraction: float, order: Int[np.ndarray, "n"]) -> Matches:
    """Matches in which a fraction of n pairs is mismatched: the first round(fraction n) of an order, in a cycle.

    Args:
        n: number of pairs, at least 2.
        fraction: in [0, 0.5].
        order: (n,) the pairs in the order in which they become mismatched, usually a random permutation. One order
            for several fractions gives nested sets.

    Returns:
        a derangement of the chosen pairs: image ``order[k]`` belongs to text ``order[k + 1]``, the last to the first.

    Raises:
        UserError: fewer than two pairs, a fraction outside [0, 0.5], or one that is not 0 but below two pairs
            (a single pair has no other to be exchanged with).
    """
    as_count(n, "n", least=2)
    if not 0 <= fraction <= MOST_FRACTION:
        raise UserError(f"a mismatch fraction must be from 0 to {MOST_FRACTION}, not {fraction}")
    count = math.floor(fraction * n + 0.5)
    if fraction > 0 and count < 2:
        raise UserError(
            f"a mismatch fraction of {fraction:g} is {count} of {n} pairs, and a mismatch takes two; "
            f"choose 0, or at least {2 / n:.2g}, or more pairs"
        )
    text_of, moved = np.arange(n), np.asarray(order)[:count]
    text_of[moved] = np.roll(moved, -1)
    return Matches.of(text_of)


def losses(
    images: Float[np.ndarray, "p n d"], texts: Float[np.ndarray, "p n d"], temperatures, matches: Sequence[Matches]
) -> PairLosses:
    """The contrastive loss of n pairs as one batch, for every matching, position and temperature, exactly.

    Args:
        images, texts: float64 arrays (p, n, d) of unit rows, as ``sphere`` moves them.
        temperatures: t values of tau > 0.
        matches: m matchings. The sums over the batch do not depend on them and are computed once.

    Returns:
        float64 losses (m, p, t) in nats, each equal to ``contrastive.contrastive_loss`` of the matched rows.

    Raises:
        UserError: a temperature of zero or below, or a matching of another number of pairs.

    Paper: equation 1, Figure 3 (e-g).
    """
    scales = 1 / _temperatures(temperatures)
    positions, n = images.shape[:2]
    _check(matches, n)
    both = np.empty((2, len(matches), positions, len(scales)))
    step = max(1, ENTRIES // n**2)
    for start in range(0, positions, step):
        part = slice(start, start + step)
        cosines = np.einsum("pnd,pmd->pnm", images[part], texts[part], optimize=True)
        sums = _log_sums(cosines, scales)
        for k, each in enumerate(matches):
            both[:, k, part] = sums - np.stack(_matched(cosines, each))[..., None] * scales
    return PairLosses(both.mean(0), both[0])


def best_logit_scale(cosines: Float[np.ndarray, "n n"], matches: Matches) -> float:
    """The logit scale at which the symmetric loss of pairs with these cosines is lowest.

    Args:
        cosines: (n, n), images in rows and texts in columns, without a gap.
        matches: which of them belong together.

    Returns:
        s in [0, inf]: infinite where every matched pair is the most similar one of its row and column, as without a
        mismatch; 0 where matched pairs are no more similar than any others on average.

    Raises:
        UserError: cosines that are not square, or a matching of another number of pairs.

    The loss is convex in s, being a mean of logsumexp(s c) less s times the mean matched cosine, so there is one such
    s, where its slope changes sign. A gap of contrast a (``sphere``) has the loss of logit scale a/tau, so along
    positions the loss is lowest without a gap while 1/tau <= s, and at contrast s tau where 1/tau > s: 1/s is the
    critical temperature, below which the lowest loss has a gap.
    """
    if cosines.ndim != 2 or cosines.shape[0] != cosines.shape[1]:
        raise UserError(f"cosines must be square, of shape (n, n), not {cosines.shape}")
    _check([matches], len(cosines))
    matched = float(np.mean(_matched(cosines[None], matches)))

    def slope(scale: float) -> float:
        rows, columns = (softmax(scale * cosines, axis) * cosines for axis in (1, 0))
        return (rows.sum() + columns.sum()) / (2 * len(cosines)) - matched

    if (cosines.max(1).mean() + cosines.max(0).mean()) / 2 - matched <= TIE:
        return math.inf
    if slope(0.0) >= -TIE:
        return 0.0
    upper = 1.0
    while slope(upper) <= 0:
        upper *= 2
    return float(brentq(slope, 0.0, upper, xtol=1e-12))


def _log_sums(cosines: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Mean over rows, and over columns, of the log of the summed exponentials: (2, p, t)."""
    both, powers = np.empty((2, len(cosines), len(scales))), np.empty_like(cosines)
    for out, axis in zip(both, (2, 1), strict=True):
        top = cosines.max(axis, keepdims=True)
        below = cosines - top
        for k, scale in enumerate(scales):
            np.exp(np.multiply(below, scale, out=powers), out=powers)
            out[:, k] = (np.log(powers.sum(axis)) + scale * top.squeeze(axis)).mean(1)
    return both


def _matched(cosines: np.ndarray, matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine (p,) of each image with its text, and of each text with its image."""
    every = np.arange(cosines.shape[1])
    return cosines[:, every, matches.text_of].mean(1), cosines[:, matches.image_of, every].mean(1)


def _check(matches: Sequence[Matches], n: int) -> None:
    for each in matches:
        if len(each.text_of) != n or len(each.image_of) != n:
            raise UserError(f"there are {n} pairs, and matches for {len(each.text_of)}")


def _temperatures(values) -> np.ndarray:
    array = as_numbers(values, "temperatures")
    if (array < LEAST_TEMPERATURE).any():
        raise UserError(f"temperature must be above 0, at least {LEAST_TEMPERATURE:g}, not {array.min():g}")
    return array
