"""Measures that need rows: exact where all rows are asked for, on a stated sample where there are many.

No n x m matrix is ever held. Products run a block at a time, on the CPU or on CUDA.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from .. import UserError
from ..embeddings import Embeddings
from ..geometry import unit_rows
from ..numerics.arrays import as_tensor
from ..numerics.items import items, matched
from ..numerics.statistics import delete_group_interval, score_interval

FOLDS = 5
GROUPS = 10
"""Groups of items that a jackknife of a sample leaves out in turn."""
NEIGHBOURS = 10
PERMUTATIONS = 200
NULL_ROWS = 500
"""Pairs, at most, that the null of CKA is drawn on."""
Z = 1.96
"""Half the width of a 95% interval in standard errors."""
BLOCK = 512
BAND = 64


class Found(NamedTuple):
    """A number: its value, how many rows or pairs it is of, the 95% interval, the 95th percentile of a null and the
    p-value, the values without each group in turn beside the sizes of groups, a remark. None where there is none.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    null: float | None = None
    p_value: float | None = None
    left: tuple[Sequence[float], Sequence[int]] | None = None
    note: str = ""


def jackknifed(value: float, n: int, without, sizes: Real[np.ndarray, "g"]) -> Found:
    """A number with the interval that its values without each group in turn give."""
    low, high = delete_group_interval(value, without, sizes)
    return Found(value, n, low, high, left=None if low is None else (without, sizes))


class Sample(NamedTuple):
    """Different items of one modality or two: float64 unit rows, places that are pairs, and a group of each item.

    ``single`` are the places of pairs that share no item, in random order; where nothing is paired, of as many items of
    each.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "m d"]
    pairs: Int[np.ndarray, "p 2"]
    single: Int[np.ndarray, "s 2"]
    groups: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]

    def items(self, names: tuple[str, str]) -> Embeddings:
        """All of it as embeddings."""
        return Embeddings({names[0]: self.x, names[1]: self.y}, self.pairs)

    def singles(self, names: tuple[str, str]) -> Embeddings:
        """The single pairs as embeddings paired by row."""
        rows = dict(zip(names, self.single_rows, strict=True))
        return Embeddings(rows, None if len(self.pairs) else np.empty((0, 2), np.int64))

    @property
    def single_rows(self) -> tuple[Float[np.ndarray, "s d"], Float[np.ndarray, "s d"]]:
        """The rows of both of ``single``."""
        return self.x[self.single[:, 0]], self.y[self.single[:, 1]]


def sample(found: Embeddings, names: tuple[str, ...], most: int, seed: int) -> Sample:
    """At most ``most`` items of each modality, at random: first ones with all that belongs to them, equal rows once.

    Where an image has several captions, all of them are taken, and so fewer images.
    """
    rng, parts = np.random.default_rng([seed, 4]), [found.modalities[name] for name in (names[0], names[-1])]
    pairs = found.pairs_between(names) if len(names) == 2 else None
    if pairs is None:
        x, y = (part[np.sort(rng.permutation(len(part))[:most])] for part in parts)
        x, y = (_unit64(part[np.unique(items(part))]) for part in (x, y))
        of = [rng.permutation(len(part)) for part in (x, y)]
        single = np.stack([each[: min(len(x), len(y))] for each in of], axis=1)
        return Sample(x, y, np.empty((0, 2), np.int64), single, tuple(each % GROUPS for each in of))
    firsts = rng.permutation(np.unique(pairs[:, 0]))[:most]
    chosen = pairs[np.isin(pairs[:, 0], firsts)]
    while len(firsts) > 1 and (n := len(np.unique(chosen[:, 1]))) > most:
        firsts = firsts[: max(1, len(firsts) * most // n)]
        chosen = pairs[np.isin(pairs[:, 0], firsts)]
    rows = [np.unique(column) for column in chosen.T]
    places = np.stack([np.searchsorted(some, column) for some, column in zip(rows, chosen.T, strict=True)], axis=1)
    x, y = (part[some] for part, some in zip(parts, rows, strict=True))
    own = matched(x, y, places)
    single = own.pairs[rng.permutation(len(own.pairs))]
    for column in (0, 1):  # one pair for each image, then for each text
        single = single[np.sort(np.unique(single[:, column], return_index=True)[1])]
    groups = rng.permutation(len(own.first)) % GROUPS, np.zeros(len(own.second), np.int64)
    groups[1][own.pairs[::-1, 1]] = groups[0][own.pairs[::-1, 0]]
    return Sample(_unit64(x[own.first]), _unit64(y[own.second]), own.pairs, single, groups)


def _unit64(x: np.ndarray) -> np.ndarray:
    return np.asarray(unit_rows(np.asarray(x, np.float64)))


def cosines(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], device: str = "cpu"
) -> Iterator[tuple[int, "Tensor"]]:
    """Yields (first row, cosines of a block of x with all of y), of unit rows, as tensors on a device."""
    first, last = (as_tensor(part).to(device) for part in (x, y))
    for start in range(0, len(first), BLOCK):
        yield start, first[start : start + BLOCK] @ last.T


def nearest(x, y, k: int = NEIGHBOURS, itself: bool = False, device: str = "cpu") -> Int[np.ndarray, "n k"]:
    """The k rows of y nearest to each row of x by cosine; with ``itself`` x is y, and no row is its own neighbour."""
    import torch

    found = []
    for start, block in cosines(x, y, device):
        if itself:
            at = torch.arange(len(block), device=block.device)
            block[at, start + at] = -torch.inf
        found.append(_top(block, k))
    return torch.cat(found).cpu().numpy()


def _top(block, k: int):
    """Columns of the k largest numbers of each row: they are in the k bands whose largest ones are largest."""
    import torch

    n, m = block.shape
    bands = m // BAND
    if bands <= 2 * k:
        return block.topk(k).indices
    whole = block[:, : bands * BAND].view(n, bands, BAND)
    best = whole.amax(2).topk(k).indices
    inside = whole.gather(1, best[:, :, None].expand(-1, -1, BAND)).reshape(n, -1)
    columns = (best[:, :, None] * BAND + torch.arange(BAND, device=block.device)).reshape(n, -1)
    if m > bands * BAND:
        inside = torch.cat([inside, block[:, bands * BAND :]], 1)
        columns = torch.cat([columns, torch.arange(bands * BAND, m, device=block.device).expand(n, -1)], 1)
    return columns.gather(1, inside.topk(k).indices)


def mutual_knn(s: Sample, seed: int = 0, device: str = "cpu") -> Found:
    """Share of the 10 nearest neighbours in one modality that are neighbours of the pair in the other too, in [0, 1].

    Null: pairs shuffled 200 times; its mean is 10/(n-1). With fewer than 20 pairs, k is half of them. Source: Huh et
    al. (2024). Trap: it falls with n, so compare at one n.
    """
    n = len(s.single)
    if not len(s.pairs) or n < 3:
        return Found(None, len(s.pairs) and n)
    k = min(NEIGHBOURS, n // 2)
    one, other = (
        nearest(part, part, k, itself=True, device=device) for part in (s.x[s.single[:, 0]], s.y[s.single[:, 1]])
    )
    orders = np.random.default_rng([seed, 5]).permuted(np.tile(np.arange(n), (PERMUTATIONS, 1)), axis=1)
    value, *draws = (_common(one[p], p[other]) for p in (np.arange(n), *orders))
    return Found(value, n, None, None, *null(value, draws))


def _common(one: Int[np.ndarray, "n k"], other: Int[np.ndarray, "n k"]) -> float:
    """The share of the entries of a row that stand in the same row of the other."""
    return float((one[:, :, None] == other[:, None]).sum() / one.size)


def cka_null(s: Sample, seed: int = 0) -> tuple[float, float]:
    """``null`` of unbiased CKA: pairs shuffled 200 times, beside those in order, on 500 of them at most."""
    one, other = (_centred_products(part[:NULL_ROWS]) for part in s.single_rows)
    rng, scale = np.random.default_rng([seed, 6]), float(np.linalg.norm(one) * np.linalg.norm(other))
    orders = (np.arange(len(one)), *(rng.permutation(len(one)) for _ in range(PERMUTATIONS)))
    value, *draws = (float(np.vdot(one, other[p[:, None], p])) / scale for p in orders)
    return null(value, draws)


def _centred_products(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Products of different rows less their row, column and whole means, so that a sum of products is unbiased HSIC.

    Source: Szekely and Rizzo (2014), U-centring.
    """
    n, products = len(x), x @ x.T
    np.fill_diagonal(products, 0)
    rows = products.sum(0) / (n - 2)
    products -= rows[:, None] + rows - products.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(products, 0)
    return products


def hubness_skewness(s: Sample, swapped: bool = False, seed: int = 0, device: str = "cpu") -> Found:
    """Skewness of how often each item of y is among the 10 nearest of the items of x.

    Near 0 where answers share the questions evenly; above some 1.5 a few hubs answer many. ``swapped``: y asks and x
    answers. Null: answers drawn at random, 200 times. Source: Radovanovic et al. (2010). Trap: it grows with the number
    of answers, so compare at one n.
    """
    asking, answers = (s.y, s.x) if swapped else (s.x, s.y)
    k, n = min(NEIGHBOURS, len(answers) // 2), len(answers)
    if n < 3:
        return Found(None, n)
    draws = np.random.default_rng([seed, 7]).multinomial(len(asking) * k, np.full(n, 1 / n), PERMUTATIONS)
    value, *by_chance = (
        _skewness(each)
        for each in (np.bincount(nearest(asking, answers, k, device=device).ravel(), minlength=n), *draws)
    )
    return Found(value, n, None, None, *null(value, by_chance))


def _skewness(counts: Int[np.ndarray, "n"]) -> float:
    apart = counts - counts.mean()
    return float((apart**3).mean() / spread**3) if (spread := apart.std()) else 0.0


def uniformity(x: Float[np.ndarray, "n d"], groups: Int[np.ndarray, "n"] | None = None, device: str = "cpu") -> Found:
    """log mean exp(-2 ||u - v||^2) over all pairs of different rows, in [-8, 0]: lower where rows spread more evenly.

    Source: Wang and Isola (2020), t = 2, without self-pairs. Trap: every row counts every other, so a sample is stated.
    """
    if len(x) < 2:
        return Found(None, len(x))
    groups = np.arange(len(x)) % GROUPS if groups is None else groups
    of = np.eye(GROUPS)[groups]
    sums = np.zeros((GROUPS, GROUPS))
    for start, block in cosines(x, x, device):
        sums += of[start : start + len(block)].T @ ((block - 1) * 4).exp().cpu().numpy() @ of
    sizes = of.sum(0)
    sums -= np.diag(sizes)  # a row with itself
    value, left = _without(sums, np.outer(sizes, sizes) - np.diag(sizes))
    if not left.all():  # two rows, one of which every group leaves out
        return Found(math.log(value), len(x))
    return jackknifed(math.log(value), len(x), np.log(left), sizes)


def _without(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray | float, np.ndarray]:
    """The mean over all pairs of groups (g, g, ...), and without each group in turn (g, ...)."""

    def left(part: np.ndarray) -> np.ndarray:
        return part.sum((0, 1)) - part.sum(0) - part.sum(1) + part[np.arange(GROUPS), np.arange(GROUPS)]

    return sums.sum((0, 1)) / counts.sum((0, 1)), left(sums) / np.maximum(left(counts), 1)


def null(value: float, draws: Sequence[float]) -> tuple[float, float]:
    """The 95th percentile of a null with the value among its draws, and the p-value: (1 + #{draws >= value})/(K + 1).

    Source: Groger et al. (2026), equations 8 to 17.
    """
    draws = np.asarray(draws)
    rank = math.ceil(0.95 * (len(draws) + 1)) - 1
    return float(np.sort([*draws, value])[rank]), float((1 + (draws >= value).sum()) / (len(draws) + 1))


def outranked(s: Sample, within: int | None = None, device: str = "cpu") -> Found:
    """How matched cosines stand among others, in [0, 1], with a jackknife over items.

    ``within`` None: the share of the pairs that are above 95% of the unmatched cosines of both modalities. 0 or 1: the
    chance that two items of that modality are closer than a pair is. Near 1 one threshold cannot serve both: every such
    item outranks the right one in a mixed search. Source: score tables of mixed search; for 0 and 1 also of the cone.
    """
    if not len(s.pairs):
        return Found(None, 0)
    x, y = ((s.x, s.y), (s.x, s.x), (s.y, s.y))[0 if within is None else within + 1]
    gx, gy = (s.groups, (s.groups[0],) * 2, (s.groups[1],) * 2)[0 if within is None else within + 1]
    own = np.einsum("ij,ij->i", s.x[s.pairs[:, 0]], s.y[s.pairs[:, 1]])
    order = np.argsort(own)
    own, of = own[order], s.groups[0][s.pairs[order, 0]]
    skipped = s.pairs if within is None else np.tile(np.arange(len(x))[:, None], 2)
    below, counts = _below(x, y, (gx, gy), own, skipped, device)
    if not counts.sum():
        return Found(None, len(own))
    share, left = _without(below, counts[..., None])
    score = (lambda part: part >= 0.95) if within is None else (lambda part: 1 - part)
    value, sizes = float(score(share).mean()), np.bincount(of, minlength=GROUPS)
    without = [float(score(part[of != g]).mean()) if (of != g).any() else value for g, part in enumerate(left)]
    if within is None:  # a share of pairs beyond a threshold moves in jumps, whose mean is no bias
        without += value - np.average(without, weights=(len(own) - sizes) * (sizes > 0) + 1e-300)
    return of_share(jackknifed(value, len(own), without, sizes))


def of_share(found: Found) -> Found:
    """A share near 0 or 1 with Wilson's interval, of as many trials as would spread as its jackknife says.

    Near the ends the jackknife sees too little of the spread. There it is of no more trials than there are pairs, and
    covers more than it says.
    """
    share, n, jackknife = found.value, found.n, (found.high or 0) - (found.low or 0)
    few = min(share, 1 - share) * n < 5
    trials = (share * (1 - share) * (2 * Z / jackknife) ** 2 if jackknife else 0) or n
    low, high = map(float, score_interval(share, min(trials, n) if few else trials))
    return found._replace(low=low, high=high) if found.left or few else found


def _below(x, y, groups, own: Float[np.ndarray, "q"], skipped: Int[np.ndarray, "p 2"], device: str):
    """How many cosines of each two groups are below each of q ascending ones (g, g, q), and how many there are."""
    import torch

    marks, columns = torch.from_numpy(own).to(device), torch.from_numpy(groups[1] * (len(own) + 1)).to(device)
    below, counts = np.zeros((GROUPS, GROUPS, len(own))), np.outer(*(np.bincount(g, minlength=GROUPS) for g in groups))
    for g in range(GROUPS):
        rows = np.flatnonzero(groups[0] == g)
        place = np.full(len(x), -1)
        place[rows] = np.arange(len(rows))
        out = np.stack([place[skipped[:, 0]], skipped[:, 1]], axis=1)[groups[0][skipped[:, 0]] == g]
        counts[g] -= np.bincount(groups[1][out[:, 1]], minlength=GROUPS)
        for start, block in cosines(x[rows], y, device):
            here = out[(out[:, 0] >= start) & (out[:, 0] < start + len(block))]
            block[here[:, 0] - start, here[:, 1]] = torch.inf
            at = torch.bucketize(block, marks, right=True) + columns
            found = torch.bincount(at.ravel(), minlength=GROUPS * (len(own) + 1)).view(GROUPS, -1)
            below[g] += found.cumsum(1)[:, :-1].cpu().numpy()
    return below, counts


def separability(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], seed: int = 0) -> Found:
    """Share of the rows that a logistic regression, fitted on others, assigns to their own modality, in [0, 1].

    1 where a plane separates the modalities, however wide the gap; about 1/2 where they are two samples of one
    distribution. There are as many rows of each; they are normalised here. Row i of both is held out together. The
    interval is Wilson's, of as many trials as would spread as the pairs do: from one a pair, whose rows are right
    together, to two and more.

    Trap: below 1/2 where the modalities were centred on these very rows, 0.30 for published CLIP and less the more
    columns there are. The means then agree exactly, so d_held = -d_fitted (1 - f)/f for the share f of rows held out:
    they lie on the other side. Centred by other rows (``util.interventions.fit``) they reach 1/2 or more.

    Source: Fahim et al., "It's Not a Modality Gap" (2024), who hold out one random fifth; here every pair is held out
    once. The penalty is theirs, scikit-learn's default (C = 1). Unit rows are moved to the centre of those fitted and
    divided by their root mean square distance from it, so that the penalty weighs narrow cones as wide ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    x, y = _unit64(x), _unit64(y)
    if len(x) != len(y) or len(x) < 2:
        raise UserError(f"separability needs as many rows of both, two at least; there are {len(x)} and {len(y)}")
    right = np.zeros(len(x))
    for fitted, held_out in KFold(min(FOLDS, len(x)), shuffle=True, random_state=seed).split(x):
        rows, modality = np.concatenate([x[fitted], y[fitted]]), np.repeat([False, True], len(fitted))
        centre = rows.mean(0)
        spread = np.sqrt(np.square(rows - centre).sum(1).mean()) or 1.0
        plane = LogisticRegression(max_iter=1000).fit((rows - centre) / spread, modality)
        said = [plane.predict((part[held_out] - centre) / spread) for part in (x, y)]
        right[held_out] = (1.0 - said[0] + said[1]) / 2
    share, spread = float(right.mean()), float(right.var())
    trials = len(x) * share * (1 - share) / spread if spread else len(x)
    return Found(share, len(x), *map(float, score_interval(share, trials)))
