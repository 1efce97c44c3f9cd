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
HELD_OUT = "table_1.claims.held_out"

SHIFTS = np.arange(-5, 5, 0.25)
"""The shifts that the best one was chosen from ("model" of the table in ``util/data/paper.json``); 0 is among them."""

WHOLE, SPLIT = "the whole data set", "the test split"
"""Of EuroSAT, which has no splits of its own, both are all 27,000 images."""

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
    """The published rows that were measured, the published p-values, and what held-out data say beyond the paper.

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
    rows += significances(chi_squared())
    adjusted, level = holm(held["p_value"].to_numpy()), published.numbers()[HELD_OUT].judged_by.tolerance
    for (dataset, metric), one, p in zip(held.index, held.itertuples(), adjusted, strict=True):
        other = test.loc[(dataset, metric)]
        note = f"p = {one.p_value:.3g}, adjusted for all rows (Holm) {p:.3g}; "
        note += f"chosen on the test data {other['gain']:+.4f}, p = {other['p_value_scaled']:.3g}"
        on, limits = f"{dataset}, {metric}, {one.model}, n = {one.n:,}", (float(one.gain_low), float(one.gain_high))
        interval = f"95%, medians over {settings.splits} splits"
        about = on, bool(one.gain > 0 and p < level), note
        rows.append(published.compare(HELD_OUT, float(one.gain), *about, *limits, dataset in papers, interval))
    return rows


def beside(k: int, row: Mapping, found: Mapping, settings: cli.Common) -> list[Comparison]:
    """A published row beside ours: without a shift, at the best on the test data, its gain, and how the gap changes.

    Args:
        k: the row's number.
        row: as published.
        found: our row of ``zero_shot_table.csv``; its ``name`` is (dataset, metric).
        settings: of the run.
    """
    on, result = f"{found.name[0]}, {found['model']}, n = {found['n']:,}", []
    best = f"at the best shift {found['shift']:+.2f}, p = {found['p_value']:.2g}"
    single = "95% bootstrap" if found.name[1] == "ROC-AUC" else "95% Wilson"
    anew = "95% bootstrap, each resample with its own best shift"
    for name, limits, interval in (("default", "default", single), ("modified", "ci", anew), ("gain", "gain", anew)):
        differs = difference(row, found, settings, shifted=name != "default")
        ends = (float(found[f"{limits}_{end}"]) for end in ("low", "high"))
        note = "; ".join(filter(None, [differs, best if name != "default" else ""]))
        about = on, None, note, *ends, not differs, interval
        result.append(published.compare(f"table_1.rows.{k}.{name}", float(found[name]), *about))
    agrees = None if differs else found["direction"] == row["direction"]
    key, note = f"table_1.rows.{k}.direction", differs or best
    return [*result, published.compare(key, found["direction"], on, agrees, note, own=not differs)]


def significances(tested: pd.DataFrame) -> list[Comparison]:
    """The published p-values beside those of the published accuracies, on as many images as give them."""
    whole = tested[tested["items"] == WHOLE].reset_index(drop=True)
    return [
        published.compare(
            f"table_1.significance.{k}.p",
            row.p_value,
            f"the published accuracies, n = {row.n:,}",
            note=f"the published p belongs to n = {row.n_of_published_p:,.1f}; {row.note}",
            own=True,
        )
        for k, row in enumerate(whole.itertuples())
    ]


def chi_squared() -> pd.DataFrame:
    """The chi-squared test of equal accuracy (Supplementary Table 5) on as many images as it may be of, and on Table 1.

    Returns:
        n_of_published_p: the number of images for which the accuracies give the published p, as the statistic grows
            with n. equal_at: the share of predictions that must have changed for a paired test (McNemar's, without
            correction) to give the same p; the test takes the accuracies for those of two samples, though the same
            images give both. Where fewer changed, the paired p is smaller.
    """
    rows, section = [], published.values()["table_1"]["significance"]
    for k, printed in enumerate(section["rows"]):
        table_1, theirs = published_rows()[k], published.numbers()[f"table_1.significance.{k}.p"].value
        split = published_items()[printed["dataset"]]
        for source, row, items, n in (
            ("Supplementary Table 5", printed, WHOLE, printed["items"]),
            ("Supplementary Table 5", printed, SPLIT, split),
            ("Table 1", table_1, SPLIT, split),
        ):
            rates = np.array([row["default"], row["modified"]])
            found = stats.chi2_contingency(n * np.stack([rates, 1 - rates]), correction=False)
            equal = n * (rates[1] - rates[0]) ** 2 / found.statistic
            of = n * stats.chi2.isf(theirs, 1) / found.statistic if source != "Table 1" else None
            about = {"source": source, "dataset": row["dataset"], "items": items, "n": n}
            about |= {"default": rates[0], "modified": rates[1], "chi_squared": found.statistic}
            note = f"a paired test gives less where fewer than {equal:.0%} of the predictions changed"
            more = {"published_p": theirs if of else None, "n_of_published_p": of, "equal_at": equal, "note": note}
            rows.append({**about, "p_value": found.pvalue, **more})
    return pd.DataFrame(rows)


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
    """One row for each published accuracy; how many images HatefulMemes' area is of is not published.

    Returns:
        net_items: items gained minus items lost; net_low, net_high: the range that rounding to four digits allows.
        most_discordant: ``most_discordant(net_items, n)`` at 0.05; share: of n; _low, _high: for net_low and net_high;
            _corrected: at 0.05/39, for the best of 39 shifts beside none.
        most_possible: items that can have changed at all, with these two accuracies.
        least_p: McNemar's p if no item was lost, the smallest there can be.
    """
    rows = []
    for row in published_rows():
        if row["metric"] != "ROC-AUC":
            n, values = published_items()[row["dataset"]], (row["default"], row["modified"])
            about = {"dataset": row["dataset"], "metric": row["metric"], "n": n, "default": values[0]}
            about |= {"modified": values[1], "gain": round(values[1] - values[0], 4)}
            rows.append({**about, **_accuracy_row(*values, n)})
    return pd.DataFrame(rows)


def count_range(value: float, n: int) -> tuple[int, int]:
    """The smallest and the largest number of hits among n items that a share, rounded to four digits, can stand for."""
    low = math.ceil(round(n * (value - HALF_A_DIGIT), 6))
    high = math.floor(round(n * (value + HALF_A_DIGIT), 6))
    if low > high:
        raise UserError(f"no number of hits among {n} items is a share of {value}")
    return low, high


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
