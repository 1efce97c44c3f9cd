"""Table 1 beside the paper: its rows beside ours, and what follows for its gains from their counts alone.

A gain in accuracy is a net number of items. Whether it is more than chance depends on how many predictions the shift
changed, which is not published. Yet every net gain has a largest number of changed predictions with which it is
still significant.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from embedded_tasks import EmbeddedTask
from evaluation import chosen_both_ways
from util import UserError, cli, published
from util.corpora import tasks as declared
from util.numerics.statistics import holm, mcnemar, most_discordant
from util.records import Comparison

PAPER_MODEL = "ViT-B-16:openai"
AGREES = 0.005
"""How far our metric may be from the published one and still agree."""

MEMES = {"dev_seen": 500, "dev_unseen": 540, "test_seen": 1000, "test_unseen": 2000}
"""Labelled memes in the splits of Hateful Memes that are not for training (Kiela et al. 2020, and the dataset's cards).
Which of them Table 1 was measured on is not said."""

SHIFTS = np.arange(-5, 5, 0.25)
"""The shifts that the best one was chosen from ("model" of the table in ``util/data/paper.json``); 0 is among them."""

ALPHA = 0.05
CORRECTED = ALPHA / (len(SHIFTS) - 1)
"""Bonferroni's level for the best of the shifts other than 0, each of which is one comparison with the default. It is
sufficient, and strict: neighbouring shifts change the same predictions (``largest_gain_p_values`` knows that)."""

HALF_A_DIGIT = 0.5e-4
"""The published values are rounded to four digits."""


def published_rows() -> list[dict]:
    """The rows of the paper's table: dataset, group, metric, default, modified, direction."""
    named, numbers = published.values()["table_1"]["rows"], published.numbers("table_1.rows.")
    return [
        {name: row[name] for name in ("dataset", "group", "metric")}
        | {name: numbers[f"table_1.rows.{k}.{name}"].value for name in ("default", "modified", "direction")}
        for k, row in enumerate(named)
    ]


def published_items() -> dict[str, int]:
    """How many images each row of the paper's table is of, as far as its data set says."""
    return {task.published: task.items for task in declared.read().values() if task.published}


def comparisons(table: pd.DataFrame, tasks: Sequence[EmbeddedTask], settings: cli.Common) -> list[Comparison]:
    """The published rows that were measured, and the claim that a shift helps beside what held-out data say.

    Args:
        table: rows of ``zero_shot_table.csv``.
        tasks: what they were measured on.
        settings: of the run.
    """
    test, held = chosen_both_ways(table)
    datasets, rows, papers = {task.published: task.dataset for task in tasks}, [], set()
    for k, row in enumerate(published_rows()):
        if row["dataset"] in datasets:
            ours = datasets[row["dataset"]]
            rows += beside(k, row, test.loc[(ours, row["metric"])], settings)
            papers |= {ours} if rows[-1].own else set()
    adjusted = holm(held["p_value"].to_numpy())
    for (dataset, metric), one, p in zip(held.index, held.itertuples(), adjusted, strict=True):
        other = test.loc[(dataset, metric)]
        note = f"p = {one.p_value:.3g}, adjusted for all rows (Holm) {p:.3g}; "
        note += f"chosen on the test data {other['gain']:+.4f}, p = {other['p_value_scaled']:.3g}"
        on, limits = f"{dataset}, {metric}, {one.model}, n = {one.n:,}", (float(one.gain_low), float(one.gain_high))
        about = on, bool(one.gain > 0 and p < ALPHA), note
        rows.append(
            published.compare("table_1.claims.held_out", float(one.gain), *about, *limits, dataset in papers, "95%")
        )
    return rows


def beside(k: int, row: Mapping, found: Mapping, settings: cli.Common) -> list[Comparison]:
    """A published row beside ours: without a shift, at the best one on the test data, and which way that moves the gap.

    Args:
        k: the row's number.
        row: as published.
        found: our row of ``zero_shot_table.csv``; its ``name`` begins with the dataset.
        settings: of the run.
    """
    on, result = f"{found.name[0]}, {found['model']}, n = {found['n']:,}", []
    best = f"at the best shift {found['shift']:+.2f}, p = {found['p_value']:.2g}"
    for name, limits, more in (("default", "default", ""), ("modified", "ci", f"; {best}")):
        differs, off = difference(row, found, settings, shifted=name == "modified"), found[name] - row[name]
        agrees = None if differs else bool(abs(off) < AGREES)
        ends = (float(found[f"{limits}_{end}"]) for end in ("low", "high"))
        about = on, agrees, (differs or f"{off:+.4f}") + more
        result.append(
            published.compare(f"table_1.rows.{k}.{name}", float(found[name]), *about, *ends, not differs, "95%")
        )
    agrees = None if differs else found["direction"] == row["direction"]
    key, note = f"table_1.rows.{k}.direction", differs or best
    return [*result, published.compare(key, found["direction"], on, agrees, note, own=not differs)]


def difference(row: Mapping, found: Mapping, settings: cli.Common, shifted: bool) -> str:
    """In which ways our row differs from the published one, so that the two need not agree; "" where in none.

    Args:
        row: as published.
        found: our row of ``zero_shot_table.csv``.
        settings: of the run.
        shifted: whether the metric is that of a shift, which the shifts and the sides shape as well.
    """
    reasons = {
        "another model": settings.model != PAPER_MODEL,
        "your own task": settings.tasks_file is not None,
        "other prompts": settings.class_names is not None,
        "part of the data": found["n"] != published_items()[row["dataset"]],
        "other shifts": shifted and not np.array_equal(cli.shift_grid(settings.shift_step), SHIFTS),
        "images moved alone": shifted and found["side"] != "both",
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def table() -> pd.DataFrame:
    """One row for each published accuracy, and one for each split that the published ROC-AUC may be of.

    Returns:
        net_items: items gained minus items lost; net_low, net_high: the range that rounding to four digits allows.
        most_discordant: ``most_discordant(net_items, n)`` at 0.05; share: of n; _low, _high: for net_low and net_high;
            _corrected: at 0.05/39, for the best of 39 shifts beside none.
        most_possible: items that can have changed at all, with these two accuracies.
        least_p: McNemar's p if no item was lost, the smallest there can be.
        positives: items of class 1 that a row for ROC-AUC assumes; se_default: the standard error of the default.
        correlation, correlation_corrected: see ``correlation_needed``, at both levels.
        What does not apply is missing.
    """
    rows = []
    for row in published_rows():
        values = row["default"], row["modified"]
        if row["metric"] == "ROC-AUC":
            found = {n: _area_row(*values, split, n) for split, n in MEMES.items()}
        else:
            n = published_items()[row["dataset"]]
            found = {n: _accuracy_row(*values, n)}
        for n, more in found.items():
            about = {"dataset": row["dataset"], "metric": row["metric"], "n": n, "default": values[0]}
            rows.append({**about, "modified": values[1], "gain": round(values[1] - values[0], 4), **more})
    return pd.DataFrame(rows).convert_dtypes()


def count_range(value: float, n: int) -> tuple[int, int]:
    """The smallest and the largest number of hits among n items that a share, rounded to four digits, can stand for."""
    low = math.ceil(round(n * (value - HALF_A_DIGIT), 6))
    high = math.floor(round(n * (value + HALF_A_DIGIT), 6))
    if low > high:
        raise UserError(f"no number of hits among {n} items is a share of {value}")
    return low, high


def area_standard_error(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area in (0, 1) under the ROC curve, from the area and the counts of both classes alone.

    Source: Hanley and McNeil, Radiology 143 (1982), whose margins are exponentially distributed in either class.
    """
    q1, q2, pairs = area / (2 - area), 2 * area**2 / (1 + area), positives * negatives
    spread = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(spread / pairs)


def correlation_needed(default: float, modified: float, positives: int, negatives: int, alpha: float = ALPHA) -> float:
    """The correlation between two areas of the same items from which their difference is significant.

    Args:
        default, modified: areas in (0, 1) that differ.
        positives, negatives: items of either class.
        alpha: two-sided level.

    Returns:
        r with |difference| = z sqrt(s1^2 + s2^2 - 2 r s1 s2), s the ``area_standard_error``; the difference is
        significant where the areas correlate more. Above 1: never; -1 or less: always.

    Source: Hanley and McNeil, Radiology 148 (1983).
    """
    s1, s2 = (area_standard_error(area, positives, negatives) for area in (default, modified))
    tolerated = abs(modified - default) / stats.norm.ppf(1 - alpha / 2)
    return (s1**2 + s2**2 - tolerated**2) / (2 * s1 * s2)


def _accuracy_row(default: float, modified: float, n: int) -> dict:
    (least_before, most_before), (least_after, most_after) = (count_range(value, n) for value in (default, modified))
    net, low, high = round(n * (modified - default)), least_after - most_before, most_after - least_before
    most, most_low, most_high = (most_discordant(max(0, items), n) for items in (net, low, high))
    corrected = most_discordant(net, n, CORRECTED)
    possible = net + 2 * min(most_before, n - least_after)  # an item lost was right before and is wrong after
    return {
        "net_items": net,
        "net_low": low,
        "net_high": high,
        "most_discordant": most,
        "share": most / n,
        "note": _conclusion(most, corrected, possible, n),
        "least_p": mcnemar(net, 0),
        "most_discordant_low": most_low,
        "most_discordant_high": most_high,
        "most_discordant_corrected": corrected,
        "share_corrected": corrected / n,
        "most_possible": possible,
    }


def _conclusion(most: int, corrected: int, possible: int, n: int) -> str:
    if corrected >= possible:
        return "significant however many predictions changed, chosen among 40 shifts or not"
    said = f"significant at {ALPHA} only if at most {most} of {n} predictions changed"
    if most >= possible:
        said = f"significant at {ALPHA} however many predictions changed"
    return f"{said}; as the best of {len(SHIFTS)} shifts (Bonferroni) only if at most {corrected}"


def _area_row(default: float, modified: float, split: str, n: int) -> dict:
    counts = n // 2, n - n // 2
    return {
        "positives": counts[0],
        "se_default": area_standard_error(default, *counts),
        "correlation": correlation_needed(default, modified, *counts),
        "correlation_corrected": correlation_needed(default, modified, *counts, CORRECTED),
        "note": f"n is not published: an example, as if it were {split} and half of it hateful",
    }
