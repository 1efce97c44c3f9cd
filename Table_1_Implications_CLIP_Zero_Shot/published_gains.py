"""Table 1 beside the paper: its rows beside ours, and what follows for its gains from their counts alone.

A gain in accuracy is a net number of items. Whether it is more than chance depends on how many predictions the shift
changed, which is not published. Yet every net gain has a largest number of changed predictions with which it is
still significant.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from util import cli, published
from util.corpora import tasks as declared
from util.numerics.statistics import holm, mcnemar, most_discordant
from util.records import Comparison
from util.zero_shot.evaluation import main_side
from util.zero_shot.tasks import EmbeddedTask

PAPER_MODEL = "open_clip:ViT-B-16:openai"
HELD_OUT = "table_1.claims.held_out"

SHIFTS = np.arange(-5, 5, 0.25)
"""The shifts that the best one was chosen from ("model" of the table in ``util/data/paper.json``); 0 is among them."""

WHOLE, SPLIT = "the whole data set", "the test split"
"""Of EuroSAT, which has no splits of its own, both are all 27,000 images."""

ALPHA = 0.05
CORRECTED = ALPHA / (len(SHIFTS) - 1)
"""Bonferroni's level for the best of the shifts other than 0, each of which is one comparison with the default. It is
sufficient, and strict: neighbouring shifts change the same predictions (``largest_gain_p_value`` knows that)."""

UNPUBLISHED = {"HatefulMemes": "the paper's memes are not published", "EuroSAT": "the paper's names are not published"}
"""Why a row's numbers are not judged, and its direction is shown or not shown."""


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


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's protocol: along the task's own gap vector, from ``main_side``."""
    return table[(table["side"] == main_side(table["side"])) & (table["gap_direction"] == "task")]


def chosen_both_ways(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The shown rows whose shift was chosen on the test data, and those held out, by dataset and metric."""
    mine = shown(table).set_index(["dataset", "metric"])
    return mine[mine["selection"] == "test"], mine[mine["selection"] == "held_out"]


def comparisons(table: pd.DataFrame, tasks: Sequence[EmbeddedTask], settings: cli.Common) -> list[Comparison]:
    """The published rows that were measured, the published p-values, and what held-out data say beyond the paper.

    ``table`` has the rows of ``zero_shot_table.csv``, measured on ``tasks``.
    """
    test, held = chosen_both_ways(table)
    datasets, rows, papers = {task.published: task.dataset for task in tasks}, [], set()
    for k, row in enumerate(published_rows()):
        if ours := datasets.get(row["dataset"]):
            rows += beside(k, row, test.loc[(ours, row["metric"])], settings)
            papers |= {ours} if rows[-1].own else set()
    rows += significances(chi_squared())
    level, both = published.numbers()[HELD_OUT].judged_by.tolerance, held.join(test.add_prefix("test_"))
    both["adjusted"] = holm(held["p_value"].to_numpy())
    for row in both.reset_index().itertuples():
        on, agrees = f"{row.dataset}, {row.metric}, {row.model}, n = {row.n:,}", row.gain > 0 and row.adjusted < level
        note = f"p = {row.p_value:.3g}, adjusted for all rows (Holm) {row.adjusted:.3g}; "
        note += f"chosen on the test data {row.test_gain:+.4f}, p = {row.test_p_value:.3g}"
        limits = float(row.gain_low), float(row.gain_high), row.dataset in papers
        interval = f"95%, medians over {settings.splits} splits"
        rows.append(published.compare(HELD_OUT, float(row.gain), on, bool(agrees), note, *limits, interval))
    return rows


def beside(k: int, row: Mapping, found: Mapping, settings: cli.Common) -> list[Comparison]:
    """The published row k beside ours: without a shift, at the best on the test data, its gain, how the gap changes.

    ``found`` is our row of ``zero_shot_table.csv``; its ``name`` is (dataset, metric).
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
    comparable = not differs or differs in UNPUBLISHED.values()
    agrees = found["direction"] == row["direction"] if comparable else None
    key, note = f"table_1.rows.{k}.direction", differs or best
    return [*result, published.compare(key, found["direction"], on, agrees, note, own=not differs)]


def significances(tested: pd.DataFrame) -> list[Comparison]:
    """The published p-values beside those of the published accuracies, on as many images as give them."""
    rows = []
    for k, row in enumerate(tested[tested["items"] == WHOLE].itertuples()):
        key, on = f"table_1.significance.{k}.p", f"{published.PRINTED}: its accuracies, n = {row.n:,}"
        note = f"the published p belongs to n = {row.n_of_published_p:,.1f}; {row.note}"
        rows.append(published.compare(key, row.p_value, on, note=note, own=True))
    return rows


def chi_squared() -> pd.DataFrame:
    """The chi-squared test of equal accuracy (Supplementary Table 5) on as many images as it may be of, and on Table 1.

    Returns:
        n_of_published_p: the number of images for which the accuracies give the published p, as the statistic grows
            with n. equal_at: the share of predictions that must have changed for a paired test (McNemar's, without
            correction) to give the same p. Where fewer changed, the paired p is smaller.
    """
    rows, section = [], published.values()["table_1"]["significance"]
    for k, printed in enumerate(section["rows"]):
        theirs, split = published.numbers()[f"table_1.significance.{k}.p"].value, published_items()[printed["dataset"]]
        for source, row, items, n, p in (
            ("Supplementary Table 5", printed, WHOLE, printed["items"], theirs),
            ("Supplementary Table 5", printed, SPLIT, split, theirs),
            ("Table 1", published_rows()[k], SPLIT, split, np.nan),
        ):
            rates = np.array([row["default"], row["modified"]])
            found = stats.chi2_contingency(n * np.stack([rates, 1 - rates]), correction=False)
            equal, of = n * np.array([np.diff(rates).item() ** 2, stats.chi2.isf(p, 1)]) / found.statistic
            note = f"a paired test gives less where fewer than {equal:.0%} of the predictions changed"
            said = {"source": source, "dataset": row["dataset"], "items": items, "n": n, "default": rates[0]}
            said |= {"modified": rates[1], "chi_squared": found.statistic, "p_value": found.pvalue, "published_p": p}
            rows.append({**said, "n_of_published_p": of, "equal_at": equal, "note": note})
    return pd.DataFrame(rows)


def difference(row: Mapping, found: Mapping, settings: cli.Common, shifted: bool) -> str:
    """In which ways our row differs from the published one, so that the two need not agree; "" where in none.

    Shifts and sides only shape a metric that is ``shifted``.
    """
    reasons = {
        "another model": settings.model != PAPER_MODEL,
        UNPUBLISHED.get(row["dataset"]): row["dataset"] in UNPUBLISHED,
        "your own task": settings.tasks_file is not None,
        "part of the data": found["n"] != published_items()[row["dataset"]],
        "other shifts": shifted and not np.array_equal(cli.shift_grid(settings.shift_step), SHIFTS),
        "images moved alone": shifted and found["side"] != "both",
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def table() -> pd.DataFrame:
    """One row for each published accuracy; how many images HatefulMemes' area is of is not published.

    Returns:
        net_items: items gained minus items lost, to the nearest one.
        most_discordant: ``most_discordant(net_items, n)`` at 0.05; share: of n; _corrected: at 0.05/39, for the best of
            39 shifts beside none.
        most_possible: items that can have changed at all, with these two accuracies.
        least_p: McNemar's p if no item was lost, the smallest there can be.
    """
    rows, items = [], published_items()
    for row in (row for row in published_rows() if row["metric"] != "ROC-AUC"):
        n, default, modified = items[row["dataset"]], row["default"], row["modified"]
        net = round(n * (modified - default))
        most, corrected = (most_discordant(net, n, level) for level in (ALPHA, CORRECTED))
        possible = net + 2 * round(n * min(default, 1 - modified))  # an item lost was right before and is wrong after
        note = f"significant at {ALPHA} only if at most {most} of {n} predictions changed; as the best of "
        note += f"{len(SHIFTS)} shifts (Bonferroni) only if at most {corrected}"
        if corrected >= possible:
            note = f"significant however many predictions changed, chosen among {len(SHIFTS)} shifts or not"
        said = {"dataset": row["dataset"], "metric": row["metric"], "n": n, "default": default, "modified": modified}
        said |= {"gain": round(modified - default, 4), "net_items": net, "least_p": mcnemar(net, 0)}
        said |= {"most_discordant": most, "share": most / n, "note": note, "most_discordant_corrected": corrected}
        rows.append({**said, "share_corrected": corrected / n, "most_possible": possible})
    return pd.DataFrame(rows)
