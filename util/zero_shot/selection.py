"""Which shift is best, and how far to believe it: chosen on the test items themselves, or on one half for the other.

The paper reports the best of 40 shifts on the items that it was chosen on. ``on_test`` does the same and says what
that is worth. ``held_out`` chooses on each half of the items and tests on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..errors import UserError
from ..numerics.arrays import as_count, as_numbers
from .outcomes import Hits, Margins, Outcomes, quantiles
from .resampling import largest_gain_p_values, paired_p_value

PerShift = Float[np.ndarray, "k"] | Sequence[float]
PerItem = Outcomes | Bool[np.ndarray, "k _"]
"""``Hits``, ``Margins``, or plain hits of independent items."""

HALVES = 3
"""The stream of a seed's random numbers that halves are drawn from."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A chosen shift, the metric with and without it, and how sure that is, in intervals of 95%."""

    default: float
    """The metric without shift, in [0, 1]."""
    default_low: float
    default_high: float
    """Wilson's interval for hits of independent items, otherwise that of the bootstrap."""
    modified: float
    """The metric at the chosen shift."""
    ci_low: float
    ci_high: float
    """Its interval; see the function that made it."""
    gain: float
    """``modified`` minus ``default``."""
    gain_low: float
    gain_high: float
    """Its bootstrap interval."""
    p_value: float
    """Of the hypothesis that shifts change nothing; see the function that made it."""
    p_value_scaled: float | None = None
    """Where each shift's gain is measured by its own spread; None where one shift alone is tested."""
    shift: float
    """The chosen one; NaN where the halves chose different ones."""
    shifts: tuple[float, ...]
    """That of each half, or the only one."""
    direction: str
    """"up" if it widens the gap, "down" if it narrows it, "none" if neither, "mixed" if halves differ."""
    n: int
    """Items tested."""
    discordant: int | None
    """How many of them the shift changes from right to wrong or back; None for ROC-AUC."""


def on_test(
    outcomes: PerItem,
    shifts: PerShift,
    gaps: PerShift,
    seed: int = 0,
    resamples: int = 2000,
    permutations: int = 2000,
) -> Selected:
    """The best shift on all items, as the paper chooses it, with a test and intervals that know of the choice.

    Args:
        outcomes: bool (k, n), whether each item is right at every shift; ``Hits`` where items belong in groups;
            ``Margins`` for ROC-AUC (both of ``util.zero_shot.outcomes``).
        shifts: amounts, with 0 among them once.
        gaps: signed gap distance at every shift.
        seed: of the permutations and the resamples.
        resamples: of the bootstrap.
        permutations: of the test.

    Returns:
        ``p_value`` and ``p_value_scaled`` are those of the largest gain over all shifts (``largest_gain_p_values``; the
        former may miss a small gain where other shifts change most predictions). Every resample chooses its own best
        shift; ``ci_*`` and ``gain_*`` are quantiles of its value there and of its gain.

    Example, for images (n, d), one text (C, d) for each class, and labels (n,):

        ranks = util.zero_shot.shifted.classify(images, texts, labels, shifts).ranks
        gaps = util.geometry.signed_gap_distances(images, texts, shifts)
        best = util.zero_shot.selection.on_test(ranks < 1, shifts, gaps)

    Trap: a chosen maximum is biased upwards, and so are its intervals: ``gain_low`` is never below 0, which is not
    evidence of a gain. ``p_value`` is the evidence, and ``held_out`` the unbiased gain. All of them are of further
    items along this gap vector, with these prompts or this gallery: none of the three is drawn again.
    """
    outcomes = _as_outcomes(outcomes)
    shifts, gaps, baseline = _grid(outcomes, shifts, gaps)
    seed, resamples = as_count(seed, "seed", least=0), as_count(resamples, "resamples")
    values, drawn = outcomes.values(), outcomes.resampled(resamples, seed)
    chosen, highest = best(values, shifts), drawn.max(axis=1)
    p_value, scaled = largest_gain_p_values(outcomes.contributions(baseline), chosen, permutations, seed)
    return _selected(
        values[[baseline, chosen]],
        [outcomes.limits(resamples, seed)[:, baseline], quantiles(highest)],
        highest - drawn[:, baseline],
        p_value=p_value,
        p_value_scaled=scaled,
        shifts=(float(shifts[chosen]),),
        direction=_direction(gaps, baseline, chosen),
        n=outcomes.n,
        discordant=outcomes.discordant(baseline, chosen),
    )


def held_out(
    halves: Sequence[tuple[PerItem, PerItem, PerShift]], shifts: PerShift, seed: int = 0, resamples: int = 2000
) -> Selected:
    """The shift chosen on each half, tested on the other, and all tested items judged together.

    Args:
        halves: (outcomes to choose on, outcomes to test on, signed gap distances at every shift of the items to choose
            on); both outcomes as in ``on_test``, with the direction that was estimated on the former. No item is
            tested twice.
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
    seed, resamples = as_count(seed, "seed", least=0), as_count(resamples, "resamples")
    parts = [(_as_outcomes(train), _as_outcomes(test), gaps) for train, test, gaps in halves]
    kinds = {type(outcomes) for *both, _ in parts for outcomes in both}
    if len(kinds) != 1:
        raise UserError("held-out selection needs halves whose outcomes are all hits or all margins")
    tested, amounts, directions = [], [], []
    for train, test, gaps in parts:
        _grid(test, shifts, gaps)
        amount, gaps, baseline = _grid(train, shifts, gaps)
        chosen = best(train.values(), amount)
        tested.append(test.at([baseline, chosen]))
        amounts.append(float(amount[chosen]))
        directions.append(_direction(gaps, baseline, chosen))
    judge = _judge_hits if kinds == {Hits} else _judge_margins
    direction = directions[0] if len(set(directions)) == 1 else "mixed"
    return judge(tested, seed, resamples, shifts=tuple(amounts), direction=direction, n=sum(test.n for test in tested))


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


def best(values: Float[np.ndarray, "k"], shifts: Float[np.ndarray, "k"]) -> int:
    """Index of the highest value; of equal ones that of the smallest shift, then the negative one."""
    return int(np.lexsort((shifts, np.abs(shifts), -values))[0])


def _as_outcomes(given) -> Outcomes:
    return given if isinstance(given, Outcomes) else Hits(given)


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


def _judge_hits(tested: Sequence[Hits], seed: int, resamples: int, **about) -> Selected:
    joined = _join(tested)
    drawn = joined.resampled(resamples, seed)
    about |= {"p_value": paired_p_value(joined.contributions(0)[:, 1]), "discordant": joined.discordant(0, 1)}
    return _selected(joined.values(), joined.limits(resamples, seed).T, drawn[:, 1] - drawn[:, 0], **about)


def _join(parts: Sequence[Hits]) -> Hits:
    """The items of all parts; groups of different parts stay apart."""
    hits = np.concatenate([part.hits for part in parts], axis=1)
    if all(part.groups is None for part in parts):
        return Hits(hits)
    named = [np.arange(part.n) if part.groups is None else part.groups for part in parts]
    return Hits(hits, np.concatenate([number + len(parts) * groups for number, groups in enumerate(named)]))


def _judge_margins(tested: Sequence[Margins], seed: int, resamples: int, **about) -> Selected:
    weights = np.array([part.pairs for part in tested]) / sum(part.pairs for part in tested)
    values = sum(weight * part.values() for weight, part in zip(weights, tested, strict=True))
    resampled = [part.resampled(resamples, seed, stream) for stream, part in enumerate(tested)]
    drawn = sum(weight * part for weight, part in zip(weights, resampled, strict=True))
    gains = drawn[:, 1] - drawn[:, 0]
    fewer = min(int((gains <= 0).sum()), int((gains >= 0).sum()))
    p_value = min(1.0, 2 * (1 + fewer) / (1 + resamples))
    return _selected(values, quantiles(drawn).T, gains, p_value=p_value, discordant=None, **about)


def _selected(values, limits, gains, shifts: tuple[float, ...], **about) -> Selected:
    """From the metric without and at the chosen shift (2,), the limits of both (2, 2), and resampled gains (r,)."""
    default, modified = map(float, values)
    (default_low, default_high), (ci_low, ci_high) = np.asarray(limits).tolist()
    gain_low, gain_high = quantiles(gains).tolist()
    return Selected(
        default=default,
        modified=modified,
        default_low=default_low,
        default_high=default_high,
        ci_low=ci_low,
        ci_high=ci_high,
        gain=round(modified - default, 12),  # a difference of shares ends in noise
        gain_low=gain_low,
        gain_high=gain_high,
        shift=shifts[0] if len(set(shifts)) == 1 else float("nan"),
        shifts=shifts,
        **about,
    )
