"""How unequal the harm is between races, and what a shift costs in accuracy: paired with shift 0, with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..numerics.statistics import bootstrap_counts, mcnemar_p_values
from .audit import Amounts, Faces, changes, checked, paired_change, tally, true_classes
from .declared import Declared

RESAMPLES = 2000
HALF = 0.5
"""Added to the harmed and to the unharmed faces of a race before a ratio, so that none is divided by 0."""

EQUAL = 1e-12
"""Differences of rates that are closer than this count as equal."""


def disparity(
    predicted: Int[np.ndarray, "k n"],
    faces: Faces,
    declared: Declared,
    shifts: Amounts,
    seed: int,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Difference and ratio between the races of the highest and the lowest ``sum``, at every shift.

    Args:
        predicted, faces, declared, shifts: as in ``util.fairness.audit.audit``.
        seed: of the resamples.
        resamples: how many; faces are drawn within their race, the same faces at every shift.

    Returns:
        a row for each shift: shift, n_races (that have faces), highest, lowest (races; the first declared of equals),
        difference (highest minus lowest rate, in [0, 1]), ratio (in [1, inf)), and for each its 95% percentile
        interval _low, _high, and _change (minus the same at shift 0) with _change_low, _change_high; p_value (of a
        difference this large if it were chance which faces are harmed). The ratio is the highest over the lowest of
        (h + 1/2) / (n + 1), for h harmed of n faces. The races of highest and lowest are chosen again in every
        resample. All is NaN, and highest and lowest are empty, where fewer than two races have faces.

    Trap: a highest minus a lowest rate is never negative, by chance alone rarely 0, and larger in resamples than in the
    faces: its interval tells its size, and p_value whether races differ at all.
    """
    shifts, baseline = checked(predicted, faces, declared, shifts)
    harmed = predicted >= len(declared.classes)
    n = np.bincount(faces.race, minlength=len(faces.races))
    there = np.flatnonzero(n)
    table = pd.DataFrame({"shift": shifts, "n_races": len(there), "highest": "", "lowest": ""})
    observed, sizes = tally(harmed, faces.race, len(n))[:, there], n[there]
    by_race = [_resampled(harmed[:, faces.race == race], (seed, int(race)), resamples) for race in there]
    found, drawn = extremes(observed, sizes), extremes(np.stack(by_race, -1), sizes)
    if len(there) < 2:
        found, drawn = ({name: np.full_like(part[name], np.nan) for name in part} for part in (found, drawn))
        return table.assign(**_with_intervals(found, drawn, baseline), p_value=np.nan)
    names, rates = np.array(faces.races, object)[there], observed / sizes
    table["highest"], table["lowest"] = names[rates.argmax(1)], names[rates.argmin(1)]
    p_values = _by_chance(observed, sizes, seed, resamples)
    return table.assign(**_with_intervals(found, drawn, baseline), p_value=p_values)


def _with_intervals(
    found: dict[str, Float[np.ndarray, "k"]], drawn: dict[str, Float[np.ndarray, "b k"]], baseline: int
) -> dict[str, Float[np.ndarray, "k"]]:
    """Columns of ``disparity``: every quantity and its change since ``baseline``, each with its interval."""
    columns = {}
    for name, value in found.items():
        change = drawn[name] - drawn[name][:, [baseline]]
        columns |= {name: value} | _middle_95(name, drawn[name])
        columns |= {f"{name}_change": value - value[baseline]} | _middle_95(f"{name}_change", change)
    return columns


def extremes(harmed: Int[np.ndarray, "*k G"], n: Int[np.ndarray, "G"]) -> dict[str, Float[np.ndarray, "*k"]]:
    """The difference and the ratio of ``disparity``, by name, from counts of groups that all have faces."""
    rates, smoothed = harmed / n, (harmed + HALF) / (n + 2 * HALF)
    return {"difference": rates.max(-1) - rates.min(-1), "ratio": smoothed.max(-1) / smoothed.min(-1)}


def _resampled(harmed: Bool[np.ndarray, "k n"], seed: Sequence[int], resamples: int) -> Int[np.ndarray, "b k"]:
    """How many of n faces drawn with replacement are harmed at each shift, the same faces at all shifts.

    Faces that are harmed at the same shifts are alike, and few patterns occur, so that only their numbers are drawn.
    """
    patterns, sizes = np.unique(np.packbits(harmed, axis=0), axis=1, return_counts=True)
    flags = np.unpackbits(patterns, axis=0, count=len(harmed)).astype(np.float64)
    blocks = bootstrap_counts(sizes, resamples, seed)
    return np.concatenate([block @ flags.T for block in blocks]).round().astype(np.int64)


def _by_chance(
    harmed: Int[np.ndarray, "k G"], n: Int[np.ndarray, "G"], seed: int, permutations: int
) -> Float[np.ndarray, "k"]:
    """p of ``disparity``: the harmed faces are any of all faces, and how many of each race is drawn again and again."""
    rng = np.random.default_rng((seed, len(n)))
    p_values = []
    for counted, difference in zip(harmed.sum(1), extremes(harmed, n)["difference"], strict=True):
        drawn = extremes(rng.multivariate_hypergeometric(n, counted, permutations), n)["difference"]
        p_values.append((1 + (drawn >= difference - EQUAL).sum()) / (1 + permutations))
    return np.array(p_values)


def _middle_95(name: str, values: Float[np.ndarray, "b k"]) -> dict[str, Float[np.ndarray, "k"]]:
    return dict(zip((f"{name}_low", f"{name}_high"), np.percentile(values, [2.5, 97.5], axis=0), strict=True))


def accuracy_cost(predicted: Int[np.ndarray, "k n"], faces: Faces, declared: Declared, shifts: Amounts) -> pd.DataFrame:
    """What a shift changes in the accuracy of all faces, paired with shift 0.

    Args:
        predicted, faces, declared, shifts: as in ``util.fairness.audit.audit``.

    Returns:
        a row for each shift: shift, n, accuracy, change (of the accuracy, in [-1, 1]; negative: it costs), change_low,
        change_high (paired, 95%), gained, lost (faces that became right, and wrong), net, and p_value (exact McNemar).
    """
    shifts, baseline = checked(predicted, faces, declared, shifts)
    right = predicted == true_classes(faces)
    all_faces = np.zeros(len(faces), np.int64)
    gained, lost = (part[:, 0] for part in changes(right, baseline, all_faces, 1))
    change, low, high = paired_change(gained, lost, np.array(len(faces)))
    columns = {"shift": shifts, "n": len(faces), "accuracy": right.mean(1)}
    columns |= {"change": change, "change_low": low, "change_high": high}
    columns |= {"gained": gained, "lost": lost, "net": gained - lost, "p_value": mcnemar_p_values(gained, lost)}
    return pd.DataFrame(columns)
