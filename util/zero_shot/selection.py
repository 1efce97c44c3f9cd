"""Which shift is best, and how far to believe it: chosen on the test items themselves, or on one half for the other.

The paper reports the best of 40 shifts on the items that it was chosen on. ``on_test`` does the same and says what
that is worth; ``held_out`` chooses on each half of the items and tests on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..errors import UserError
from ..numerics.arrays import as_count, as_numbers
from ..numerics.statistics import mcnemar, wilson_interval
from .outcomes import Hits, Margins, Outcomes
from .resampling import largest_gain_p_values, paired_p_value

LEVEL = 0.95
"""Confidence of every interval here."""
HALVES = 3
"""The stream of a seed's random numbers that halves are drawn from."""


@dataclass(frozen=True)
class Selected:
    """A chosen shift, the metric with and without it, and how sure that is.

    Attributes:
        default: the metric without shift, in [0, 1].
        modified: the metric at the chosen shift.
        default_low, default_high: 95% interval of ``default``: Wilson's for hits of independent items, otherwise that
            of the bootstrap.
        ci_low, ci_high: 95% interval of ``modified``; see the function that made it.
        gain: ``modified`` minus ``default``.
        gain_low, gain_high: its 95% bootstrap interval.
        p_value: of the hypothesis that shifts change nothing; see the function that made it.
        shift: the chosen one; NaN where the halves chose different ones, see ``shifts``.
        shifts: the chosen one of each half, or the only one.
        direction: "up" if it widens the gap, "down" if it narrows it, "none" if neither, "mixed" if halves differ.
        n: items tested.
        discordant: how many of them the chosen shift changes from right to wrong or back; None for ROC-AUC.
        p_value_scaled: of the same hypothesis, where each shift's gain is measured by its own spread; None where one
            shift alone is tested.
    """

    default: float
    modified: float
    default_low: float
    default_high: float
    ci_low: float
    ci_high: float
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    shift: float
    shifts: tuple[float, ...]
    direction: str
    n: int
    discordant: int | None
    p_value_scaled: float | None = None


def best(values: Float[np.ndarray, "k"], shifts: Float[np.ndarray, "k"] | Sequence[float]) -> int:
    """Index of the highest value; of equal ones that of the smallest shift, then the negative one."""
    values, shifts = as_numbers(values, "values"), as_numbers(shifts, "shifts")
    if len(values) != len(shifts):
        raise UserError(f"every shift needs one value; there are {len(shifts)} and {len(values)}")
    return int(np.lexsort((shifts, np.abs(shifts), -values))[0])


def on_test(
    outcomes: Outcomes,
    shifts: Float[np.ndarray, "k"] | Sequence[float],
    gaps: Float[np.ndarray, "k"] | Sequence[float],
    seed: int,
    resamples: int = 2000,
    permutations: int = 2000,
) -> Selected:
    """The best shift on all items, as the paper chooses it, with a test and intervals that know of the choice.

    Args:
        outcomes: of all items at every shift.
        shifts: amounts, with 0 among them once.
        gaps: signed gap distance at every shift.
        seed: of the permutations and the resamples.
        resamples: of the bootstrap.
        permutations: of the test.

    Returns:
        ``p_value`` and ``p_value_scaled`` are those of the largest gain over all shifts (``largest_gain_p_values``; the
        former may miss a small gain where other shifts change most predictions). Every resample chooses its own best
        shift; ``ci_*`` and ``gain_*`` are quantiles of its value there and of its gain.

    Trap: a chosen maximum is biased upwards, and so are its intervals: ``gain_low`` is never below 0, which is not
    evidence of a gain. ``p_value`` is the evidence, and ``held_out`` the unbiased gain. All of them are of further
    items along this gap vector, with these prompts or this gallery: none of the three is drawn again.
    """
    shifts, gaps, baseline = _grid(outcomes, shifts, gaps)
    values = outcomes.values()
    chosen = best(values, shifts)
    drawn = outcomes.resampled(as_count(resamples, "resamples"), as_count(seed, "seed", least=0))
    highest = drawn.max(axis=1)
    p_value, scaled = largest_gain_p_values(outcomes.contributions(baseline), chosen, permutations, seed)
    return Selected(
        float(values[baseline]),
        float(values[chosen]),
        *_interval(outcomes.at([baseline]), drawn[:, baseline]),
        *_quantiles(highest),
        float(values[chosen] - values[baseline]),
        *_quantiles(highest - drawn[:, baseline]),
        p_value,
        float(shifts[chosen]),
        (float(shifts[chosen]),),
        _direction(gaps, baseline, chosen),
        outcomes.n,
        int((outcomes.hits[chosen] != outcomes.hits[baseline]).sum()) if isinstance(outcomes, Hits) else None,
        scaled,
    )


def held_out(
    halves: Sequence[tuple[Outcomes, Outcomes, Float[np.ndarray, "k"] | Sequence[float]]],
    shifts: Float[np.ndarray, "k"] | Sequence[float],
    seed: int,
    resamples: int = 2000,
) -> Selected:
    """The shift chosen on each half, tested on the other, and all tested items judged together.

    Args:
        halves: (outcomes to choose on, outcomes to test on, signed gap distances at every shift of the items to choose
            on); both outcomes with the direction that was estimated on the former. No item is tested twice.
        shifts: amounts, with 0 among them once.
        seed: of the resamples.
        resamples: of the bootstrap.

    Returns:
        for hits: shares of all tested items, Wilson's intervals, and McNemar's exact test over all items. Items that
        belong together in groups: bootstrap intervals, and ``paired_p_value`` of the groups. For ROC-AUC: the mean of
        the halves' areas weighted by their pairs, as margins of different shifts are on different scales. Its p-value
        is twice the smaller share of resamples whose gain is at most, or at least, 0, with 1 added to both counts. The
        gain's interval is that of a paired bootstrap. All of these take the chosen shifts as given. ``shift`` is NaN
        where the halves chose different ones.

    Trap: each half's shift was chosen on the other, so the two tested halves are not quite independent. The test over
    all items is exact only given the shifts. Where no shift does anything and many compete, p falls below 0.05 a little
    too often: 7.5% with 40 shifts, each changing 300 of 2,000 items at random.
    """
    if not halves or len({type(part) for train, test, _ in halves for part in (train, test)}) != 1:
        raise UserError("held-out selection needs halves whose outcomes are all hits or all margins")
    seed, resamples = as_count(seed, "seed", least=0), as_count(resamples, "resamples")
    tested, amounts, directions = [], [], []
    for train, test, gaps in halves:
        amount, gaps, baseline = _grid(train, shifts, gaps)
        _grid(test, shifts, gaps)
        chosen = best(train.values(), amount)
        tested.append(test.at([baseline, chosen]))
        amounts.append(float(amount[chosen]))
        directions.append(_direction(gaps, baseline, chosen))
    judge = _judge_hits if isinstance(tested[0], Hits) else _judge_margins
    shift = amounts[0] if len(set(amounts)) == 1 else float("nan")
    where = shift, tuple(amounts), directions[0] if len(set(directions)) == 1 else "mixed"
    return judge(tested, where, seed, resamples)


def halves(
    n: int, strata: Shaped[np.ndarray, "n"] | None, seed: int
) -> tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]:
    """Row numbers of two random halves, in ascending order, every stratum as even as it can be.

    Args:
        n: items, at least 2.
        strata: what is to be as frequent in both, for instance labels (n,); None: nothing.
        seed: of their own stream of random numbers.

    Returns:
        (rows_a, rows_b): no row in both; their numbers, in all and within a stratum, differ by at most 1.
    """
    n = as_count(n, "n", least=2)
    if strata is not None and np.shape(strata) != (n,):
        raise UserError(f"strata must name one stratum for each of {n} items; their shape is {np.shape(strata)}")
    rng = np.random.default_rng([as_count(seed, "seed", least=0), HALVES])
    order, first = rng.permutation(n), int(rng.integers(2))
    if strata is not None:
        order = order[np.argsort(np.asarray(strata)[order], kind="stable")]
    return np.sort(order[first::2]), np.sort(order[1 - first :: 2])


def _grid(outcomes: Outcomes, shifts, gaps) -> tuple[np.ndarray, np.ndarray, int]:
    shifts, gaps = as_numbers(shifts, "shifts"), as_numbers(gaps, "gaps")
    if not len(shifts) == len(gaps) == outcomes.k:
        raise UserError(f"{outcomes.k} shifts have outcomes, but there are {len(shifts)} amounts and {len(gaps)} gaps")
    zeros = np.flatnonzero(shifts == 0)
    if len(zeros) != 1:
        raise UserError(f"the shifts must hold 0, which is the default, exactly once; they hold it {len(zeros)} times")
    return shifts, gaps, int(zeros[0])


def _direction(gaps: np.ndarray, baseline: int, chosen: int) -> str:
    change = abs(gaps[chosen]) - abs(gaps[baseline])
    return "up" if change > 0 else "down" if change < 0 else "none"


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _interval(outcomes: Outcomes, drawn: np.ndarray) -> tuple[float, float]:
    """Interval of the metric at the only shift of these outcomes, whose resampled values are ``drawn``."""
    if isinstance(outcomes, Hits) and outcomes.groups is None:
        return wilson_interval(int(outcomes.hits.sum()), outcomes.n, LEVEL)
    return _quantiles(drawn)


def _judge_hits(tested: list[Hits], where: tuple, seed: int, resamples: int) -> Selected:
    joined = _join(tested)
    before, after = joined.values()
    drawn = joined.resampled(resamples, seed)
    intervals = [_interval(joined.at([i]), drawn[:, i]) for i in (0, 1)]
    differences = joined.contributions(0)[:, 1]
    gain = int(differences.sum()) / joined.n, *_quantiles(drawn[:, 1] - drawn[:, 0])
    gained, lost = (int((joined.hits[i] & ~joined.hits[1 - i]).sum()) for i in (1, 0))
    p_value = mcnemar(gained, lost) if joined.groups is None else paired_p_value(differences)
    values = float(before), float(after), *intervals[0], *intervals[1]
    return Selected(*values, *gain, p_value, *where, joined.n, gained + lost)


def _join(parts: list[Hits]) -> Hits:
    """The items of all parts; groups of different parts stay apart."""
    hits = np.concatenate([part.hits for part in parts], axis=1)
    if all(part.groups is None for part in parts):
        return Outcomes.of_hits(hits)
    groups, first = [], 0
    for part in parts:
        names = np.arange(part.n) if part.groups is None else np.unique(part.groups, return_inverse=True)[1]
        groups.append(names + first)
        first += int(names.max()) + 1
    return Outcomes.of_hits(hits, np.concatenate(groups))


def _judge_margins(tested: list[Margins], where: tuple, seed: int, resamples: int) -> Selected:
    weights = np.array([part.pairs for part in tested], dtype=np.float64)
    weights /= weights.sum()
    before, after = sum(weight * part.values() for weight, part in zip(weights, tested, strict=True))
    drawn = sum(
        weight * part.resampled(resamples, seed, stream)
        for stream, (weight, part) in enumerate(zip(weights, tested, strict=True))
    )
    gains = drawn[:, 1] - drawn[:, 0]
    fewer = min(int((gains <= 0).sum()), int((gains >= 0).sum()))
    values = float(before), float(after), *_quantiles(drawn[:, 0]), *_quantiles(drawn[:, 1])
    gain, p_value = (float(after - before), *_quantiles(gains)), min(1.0, 2 * (1 + fewer) / (1 + resamples))
    return Selected(*values, *gain, p_value, *where, sum(part.n for part in tested), None)
