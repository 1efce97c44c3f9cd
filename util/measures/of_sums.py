"""Measures that follow from sums: functions of ``Totals`` and the places of one modality, or of two.

Each gives a number, or None where it says nothing: rows that are all one, or none that are paired. Rows count by their
direction. A rotation of all rows changes none but ``gap_dimensions``; the order of rows changes none.
"""

import math

import numpy as np
import scipy

from .sums import Totals

ALL_ONE = 1e-12
"""Sum of distances (1 - cosine)/2 below which all rows count as one: what is left is rounding."""
ENERGY = 0.99
"""Share of the squared rows that the axes of a modality hold, for shared dimensions and angles."""
SHARED = 1e-3
"""An axis is shared where its cosine is above 1 - SHARED."""
NARROW = 1e-6
"""Trace of a covariance below which products of rows are rounding, and nothing is said of them."""
TRACY_WIDOM = 0.9793
"""The 95th percentile of the Tracy-Widom law of order 1."""


def gap_distance(t: Totals, a: int, b: int) -> float:
    """||mu_a - mu_b|| of the centroids of unit rows, in [0, 2].

    Trap: it depends on the data too, and says nothing of quality: compare models on the same items. Paper: section
    4.2. CLIP ViT-B/32 on MSCOCO val2017: 0.8221.
    """
    return float(np.linalg.norm(t.centroid(a) - t.centroid(b)))


def centroid_angle(t: Totals, a: int, b: int) -> float | None:
    """Angle between the centroids in degrees, in [0, 180]; None where a centroid is zero.

    Trap: blind to how long centroids are: two wide cones and two narrow ones may have one angle. Near 0 and 180, where
    it cannot spread both ways, its interval covers less than it says. Source: Yi et al. (2026): 71 to 75 for ViT-B/32.
    """
    one, other = t.centroid(a), t.centroid(b)
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    if min(lengths) < ALL_ONE:
        return None
    u, v = one / lengths[0], other / lengths[1]
    return math.degrees(2 * math.atan2(np.linalg.norm(u - v), np.linalg.norm(u + v)))


def _trace(t: Totals, a: int) -> float:
    """Trace of the covariance of unit rows, in [0, 1]: 1 - ||mu||^2."""
    return max(0.0, 1 - float(t.centroid(a) @ t.centroid(a)))


def gap_variance_share(t: Totals, a: int, b: int) -> float | None:
    """Share of the variance of all rows together that is between the modalities, in [0, 1].

    w_a w_b ||g||^2 / (w_a tr S_a + w_b tr S_b + w_a w_b ||g||^2), w the share of the rows. Source: law of total
    variance. Trap: it depends on how many rows there are of each. CLIP ViT-B/32 on MSCOCO val2017: 0.248.
    """
    of_a, of_b = t.n[a] / (t.n[a] + t.n[b]), t.n[b] / (t.n[a] + t.n[b])
    between = of_a * of_b * gap_distance(t, a, b) ** 2
    whole = of_a * _trace(t, a) + of_b * _trace(t, b) + between
    return between / whole if whole > ALL_ONE else None


def relative_gap(t: Totals, a: int, b: int) -> float | None:
    """Relative modality gap (RMG): the distance of pairs beside that of any two rows of one modality, in [0, 1].

    With D(c) = (1 - c)/2 of a cosine: D(matched) / (D(matched) + (D(within a) + D(within b)) / 2). It is 0 where pairs
    coincide, 1/2 where they are as far apart as any two of one modality. Self-pairs are excluded, and each row of a
    modality counts once. Source: Schrodi et al. (2024), as their evaluation has it, without its floor of 1e-3.
    """
    cosines = matched_cosine(t, a, b), mean_cosine(t, a), mean_cosine(t, b)
    if None in cosines:
        return None
    matched, *within = (max(0.0, (1 - cosine) / 2) for cosine in cosines)
    whole = matched + sum(within) / 2
    return matched / whole if whole > ALL_ONE else None


def gap_dimensions(t: Totals, a: int, b: int) -> float | None:
    """How few columns carry the gap, in [1, d]: (sum g^2)^2 / sum g^4, which is k where k equal ones do.

    Trap: of these columns; a rotation changes it. Source: participation ratio of the mean differences that Schrodi et
    al. (2024) sort.
    """
    squares = (t.centroid(a) - t.centroid(b)) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.sum() > ALL_ONE**2 else None


def raw_gap_distance(t: Totals, a: int, b: int) -> float:
    """Distance of the means of rows as they are stored, at least 0.

    Trap: the norms of rows enter, so it compares no two models. It is what some people publish.
    """
    return float(np.linalg.norm(t.raw[a] / t.n[a] - t.raw[b] / t.n[b]))


def mean_cosine(t: Totals, a: int, _: int = 0) -> float | None:
    """Mean cosine of all pairs of different rows, in [-1/(n-1), 1]: how narrow the cone is.

    (||sum||^2 - n) / (n (n - 1)). Paper: Figure 2 (a). CLIP ViT-B/32 on MSCOCO val2017: image 0.468, text 0.508.
    """
    n = int(t.n[a])
    if n < 2:
        return None
    return min(1.0, math.fsum([float(t.total[a] @ t.total[a]), -n]) / (n * (n - 1)))


def cosine_std(t: Totals, a: int, _: int = 0) -> float | None:
    """Standard deviation of the same cosines, in [0, 1], from the squared entries of the covariance.

    CLIP ViT-B/32 on MSCOCO val2017: image 0.090, text 0.103.
    """
    n, mean, spread = int(t.n[a]), t.centroid(a), _trace(t, a)
    if n < 2 or ALL_ONE < spread < NARROW:
        return None
    around = t.covariance(a)  # of narrow cones the uncentred squares are all rounding
    squares = n * (2 * mean @ around @ mean + float(np.vdot(around, around))) - spread**2
    return math.sqrt(max(0.0, squares / (n - 1) - (spread / (n - 1)) ** 2))


def _eigenvalues(t: Totals, a: int) -> np.ndarray | None:
    """Of the covariance, none below 0; None where all rows are one."""
    values = np.linalg.eigvalsh(t.covariance(a)).clip(0)
    return values if values.sum() > ALL_ONE else None


def effective_rank(t: Totals, a: int, _: int = 0) -> float | None:
    """exp(-sum p log p) of the shares p of the eigenvalues of the covariance, in [1, d]: how many columns are used.

    Source: Roy and Vetterli (2007). RankMe is of the uncentred rows and other. Trap: with fewer than some 10 d rows it
    is of the sample.
    """
    if (values := t.once(_eigenvalues, a)) is None:
        return None
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def w2_uniformity(t: Totals, a: int, _: int = 0) -> float:
    """-sqrt(2 - 2/sqrt(d) sum sqrt(l)) of the eigenvalues l of the covariance, in [-sqrt 2, 0], 0 the most uniform.

    Distance to a normal distribution of the whole sphere: the stand-in for ``uniformity`` that sums give. Source: Fang
    et al. (2024), here of one modality. Trap: with fewer than some 10 d rows it is of the sample.
    """
    values = t.once(_eigenvalues, a)
    spread = 0.0 if values is None else float(np.sqrt(values).sum())
    return -math.sqrt(max(0.0, 2 - 2 / math.sqrt(len(t.total[a])) * spread))


def isoscore(t: Totals, a: int, _: int = 0) -> float | None:
    """How evenly the variance fills the columns, in [0, 1]: 0 one direction, 1 all alike.

    (r - 1)/(d - 1) with r = (tr S)^2 / ||S||_F^2, to which Rudman et al. (2022) go through principal components. None
    in one column. Trap: the centroid does not enter: a narrow cone may be isotropic.
    """
    covariance = t.covariance(a)
    trace, d = float(np.trace(covariance)), len(covariance)
    if d < 2 or trace < ALL_ONE:
        return None
    return min(1.0, max(0.0, (trace**2 / float(np.vdot(covariance, covariance)) - 1) / (d - 1)))


def matched_cosine(t: Totals, a: int, b: int) -> float | None:
    """Mean cosine of the pairs, in [-1, 1]. Trap: meaningless without the unmatched ones beside it."""
    count, total, *_ = t.pairs[t.couple(a, b)]
    return float(np.clip(total / count, -1, 1)) if count else None


def matched_std(t: Totals, a: int, b: int) -> float | None:
    """Standard deviation of the cosines of the pairs, in [0, 1]."""
    count, total, squares, _ = t.pairs[t.couple(a, b)]
    return math.sqrt(max(0.0, squares / count - (total / count) ** 2)) if count else None


def _unmatched(t: Totals, a: int, b: int) -> float | None:
    count, total, *_ = t.pairs[t.couple(a, b)]
    apart = float(t.n[a]) * float(t.n[b]) - count
    return float(np.clip((t.total[a] @ t.total[b] - total) / apart, -1, 1)) if count and apart > 0 else None


def unmatched_cosine(t: Totals, a: int, b: int) -> float | None:
    """Mean cosine of every row of one with every row of the other that are no pair, in [-1, 1]."""
    return _unmatched(t, a, b)


def unmatched_std(t: Totals, a: int, b: int) -> float | None:
    """Standard deviation of the cosines that are no pair, in [0, 1]: tr(M_a M_b) is the sum of all squares."""
    mean, (count, _, squares, _) = _unmatched(t, a, b), t.pairs[t.couple(a, b)]
    if mean is None:
        return None
    apart = float(t.n[a]) * float(t.n[b]) - count
    return math.sqrt(max(0.0, (float(np.vdot(t.second[a], t.second[b])) - squares) / apart - mean**2))


def siglip_margin(t: Totals, a: int, b: int) -> float | None:
    """Half of matched less unmatched mean cosine, in [-1, 1]: the margin that a sigmoid loss leaves.

    Source: Bangachev et al. (2025), mean version. SigLIP so400m-384: 0.070. Trap: of other losses it is a description.
    """
    apart = _unmatched(t, a, b)
    return None if apart is None else (matched_cosine(t, a, b) - apart) / 2


def siglip_bias(t: Totals, a: int, b: int) -> float | None:
    """The middle of matched and unmatched mean cosine, in [-1, 1]: the relative bias of the same source (0.068)."""
    apart = _unmatched(t, a, b)
    return None if apart is None else (matched_cosine(t, a, b) + apart) / 2


def alignment(t: Totals, a: int, b: int) -> float | None:
    """Mean squared distance of the pairs, in [0, 4]: 2 - 2 cosine. Source: Wang and Isola (2020), alpha = 2."""
    matched = matched_cosine(t, a, b)
    return None if matched is None else 2 - 2 * matched


def cka(t: Totals, a: int, b: int) -> float | None:
    """Unbiased linear CKA of pairs that are one to one, about in [-1, 1], 0 expected where nothing corresponds.

    HSIC(C) = (||C||_F^2 - o + n^2 s t/((n-1)(n-2)) - 2 o/(n-2)) / (n(n-3)) of the products C of rows less their means,
    s and t the traces of the covariances, o = n s t + 4 mu_a C mu_b the sum over pairs of the product of both squared
    distances from the mean, which for unit rows follows from sums. CKA is HSIC(C_ab) over the
    root of HSIC(C_aa) HSIC(C_bb). None for fewer than 4 pairs, or where a modality has no structure. Source: Kornblith
    et al. (2019), Song et al. (2012). Trap: it sees correspondence up to a rotation, so a gap does not lower it.
    """
    n, c = float(t.n[a]), t.couple(a, b)
    if n < 4 or not t.n[a] == t.n[b] == t.pairs[c, 0] or t.pairs[c, 3] or min(_trace(t, a), _trace(t, b)) < NARROW:
        return None

    def hsic(product: np.ndarray, m: int, r: int) -> float:
        s, t_r = _trace(t, m), _trace(t, r)
        own = n * s * t_r + 4 * t.centroid(m) @ product @ t.centroid(r)
        whole = np.vdot(product, product) - own + n * n * s * t_r / ((n - 1) * (n - 2)) - 2 * own / (n - 2)
        return float(whole / (n * (n - 3)))

    one, other = min(a, b), max(a, b)
    across = hsic(t.cross[c] - n * np.outer(t.centroid(one), t.centroid(other)), one, other)
    alone = [hsic(n * t.covariance(m), m, m) for m in (a, b)]
    return across / math.sqrt(alone[0] * alone[1]) if min(alone) > 0 else None


def gap_orthogonality(t: Totals, a: int, b: int) -> float | None:
    """Share of the variance of modality a that lies along the gap, in [0, 1]: u^T S u / tr S; even is 1/d, 0 constant.

    Source: Chowers and Weiss (2026), assumption 3.3. None where there is no gap, or all rows are one.
    """
    gap, trace = t.centroid(a) - t.centroid(b), _trace(t, a)
    length = float(gap @ gap)
    if length < ALL_ONE or trace < ALL_ONE:
        return None
    return float(np.clip(gap @ t.covariance(a) @ gap / length / trace, 0, 1))


def _axes(t: Totals, a: int) -> np.ndarray:
    """The fewest eigenvectors of the uncentred second moments that hold 99% of the energy (d, k)."""
    values, vectors = np.linalg.eigh(t.second[a] / t.n[a])
    reached = np.cumsum(values[::-1].clip(0)) / values.clip(0).sum()
    return vectors[:, ::-1][:, : int(np.searchsorted(reached, ENERGY)) + 1]


def _principal_angles(t: Totals, a: int, b: int) -> np.ndarray:
    return scipy.linalg.subspace_angles(t.once(_axes, a), t.once(_axes, b))


def shared_dimensions(t: Totals, a: int, b: int) -> int:
    """How many principal angles between the axes of two modalities are about 0 (cosine above 0.999), in [0, d].

    The axes are the fewest eigenvectors of the uncentred second moments that hold 99% of the energy. Source: Yi et al.
    (2025), C.3, about 212 of CLIP on MSCOCO. Trap: see ``forced_dimensions``; with fewer rows than columns it says
    little.
    """
    return int((np.cos(t.once(_principal_angles, a, b)) > 1 - SHARED).sum())


def principal_angle(t: Totals, a: int, b: int) -> float:
    """The smallest principal angle between those axes in degrees, in [0, 90]. Trap: 0 wherever some are forced."""
    return math.degrees(t.once(_principal_angles, a, b).min())


def forced_dimensions(t: Totals, a: int, b: int) -> int:
    """How many dimensions any two spaces of k and l axes share: k + l - d, or none. The null of the shared ones."""
    return max(0, t.once(_axes, a).shape[1] + t.once(_axes, b).shape[1] - len(t.total[a]))


def chance_angle(t: Totals, a: int, b: int) -> float:
    """The smallest principal angle in degrees that 95 of 100 pairs of random spaces of so many axes exceed.

    The logit of its squared cosine is about that of an edge and a multiple of a Tracy-Widom number; 0 where axes fill
    the columns. Source: Johnstone, Annals of Statistics 36 (2008), theorem 1, whose error falls with their number.
    """
    few, many = sorted(t.once(_axes, m).shape[1] for m in (a, b))
    d = len(t.total[a])
    if few + many >= d:
        return 0.0
    gamma, phi = (2 * math.asin(math.sqrt((k - 0.5) / (d - 1))) for k in (few, many))
    spread = (16 / ((d - 1) ** 2 * math.sin(phi + gamma) ** 2 * math.sin(phi) * math.sin(gamma))) ** (1 / 3)
    logit = 2 * math.log(math.tan((phi + gamma) / 2)) + TRACY_WIDOM * spread
    return math.degrees(math.acos(math.sqrt(1 / (1 + math.exp(-logit)))))


BY_CHANCE = {"shared_dimensions": forced_dimensions, "principal_angle": chance_angle}
"""Measures without an interval, and what chance gives in their place."""
