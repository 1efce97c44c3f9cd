"""How unequal the harm is between races: paired with shift 0, with intervals."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..numerics.statistics import bootstrap_counts
from .audit import Answers


def disparity(answers: Answers, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Difference and ratio between the races of the highest and the lowest ``sum``, at every shift.

    Faces are drawn again within their race, the same faces at every shift.

    Returns:
        a row for each shift: shift, n_races (that have faces; another axis than race has its own name there),
        highest, lowest (races; the first declared of equals),
        difference (highest minus lowest rate, in [0, 1]), ratio (in [1, inf)), and for each its 95% percentile
        interval _low, _high, and _change (minus the same at shift 0) with _change_low, _change_high; disparity_p_value
        (of a difference this large if it were chance which faces are harmed). The ratio is highest over lowest of
        (h + 1/2) / (n + 1), for h harmed of n faces. The races of highest and lowest are chosen again in every
        resample. All is NaN, and highest and lowest are empty, where fewer than two races have faces.

    Trap: a highest minus a lowest rate is never negative, by chance alone rarely 0, and larger in resamples than in the
    faces: its interval tells its size, and disparity_p_value whether races differ at all.
    """
    column = answers.declared.columns[0]
    (names, within), harmed = answers.groups([column]), answers.harmed
    there = np.flatnonzero(within.any(0))
    names, within = np.array(names, object)[there, 0], within[:, there]
    observed, sizes = harmed @ within, within.sum(0)
    by_race = []
    for race, mine in zip(there.tolist(), within.T > 0, strict=True):  # drawn by the faces' pattern of harm
        patterns, alike = np.unique(harmed[:, mine].T, axis=0, return_counts=True)
        drawn = bootstrap_counts(alike, resamples, (seed, race))
        by_race.append(np.concatenate([counts @ patterns for counts in drawn]))
    found, drawn = extremes(observed, sizes), extremes(np.stack(by_race, -1), sizes)
    table = pd.DataFrame({"shift": answers.shifts, f"n_{column}s": len(there), "highest": "", "lowest": ""})
    columns, baseline = {}, answers.row(0.0)
    for name, value in found.items():
        columns |= _with_interval(name, value, drawn[name])
        change = drawn[name] - drawn[name][:, [baseline]]
        columns |= _with_interval(f"{name}_change", value - value[baseline], change)
    if len(there) < 2:
        return table.assign(**dict.fromkeys(columns, np.nan), disparity_p_value=np.nan)
    rates = observed / sizes
    table["highest"], table["lowest"] = names[rates.argmax(1)], names[rates.argmin(1)]
    rng, p_values = np.random.default_rng((seed, len(sizes))), []
    for counted, difference in zip(observed.sum(1), found["difference"], strict=True):  # any of all faces are harmed
        drawn = extremes(rng.multivariate_hypergeometric(sizes, counted, resamples), sizes)["difference"]
        p_values.append((1 + (drawn >= difference - 1e-12).sum()) / (1 + resamples))  # equal but for rounding
    return table.assign(**columns, disparity_p_value=p_values)


def _with_interval(name: str, value: np.ndarray, drawn: Float[np.ndarray, "b k"]) -> dict[str, np.ndarray]:
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def extremes(harmed: Int[np.ndarray, "*k G"], n: Int[np.ndarray, "G"]) -> dict[str, Float[np.ndarray, "*k"]]:
    """The difference and the ratio of ``disparity``, by name, from counts of groups that all have faces."""
    rates, smoothed = harmed / n, (harmed + 0.5) / (n + 1)  # half a face, harmed or not, so that none is divided by 0
    return {"difference": rates.max(-1) - rates.min(-1), "ratio": smoothed.max(-1) / smoothed.min(-1)}
