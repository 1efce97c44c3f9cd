"""Drawn from the record of Table 1: the metric against the gap of each task, and the table in print."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd

from evaluation import chosen_both_ways, main_side
from published_gains import published_rows
from util import figures, published, records

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

COLUMNS = 3
"""Panels in a row."""
CAPTIONS_COLOUR = figures.SERIES[1]
CHOSEN, HELD_OUT = figures.NON_TEXT, figures.SERIES[3]
ARROWS = {"up": "\N{UPWARDS ARROW}", "down": "\N{DOWNWARDS ARROW}", "none": "=", "mixed": "\N{UP DOWN ARROW}"}
"""How the chosen shift changes the gap."""
NAMES = {"top-1": "accuracy (top-1)"}
GROUPS = ("coarse-grained", "fine-grained", "optical character recognition", "retrieval")
"""The paper's groups in its order, then ours; others come after them."""
SMALL_CLIP = "small CLIP"
JUMP = 0.5
"""The line is broken where the gap changes its sign without having been small, as along a direction not its own."""
NOTHING = "\N{EN DASH}"


def draw(record: records.Record) -> plt.Figure:
    """Every headline metric against the signed gap distance, a panel for each task and metric."""
    side = main_side(record.tables["table"])
    table, curves = (rows[rows["side"] == side] for rows in (record.tables["table"], record.tables[""]))
    panels = dict(iter(table.groupby(["dataset", "metric"], sort=False)))
    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    size = (3.1 * max(columns, 2), 2.45 * rows + 0.75)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for i, (ax, ((dataset, metric), chosen)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        draw_panel(ax, curves[(curves["dataset"] == dataset) & (curves["metric"] == metric)], chosen)
        ax.set_ylabel(NAMES.get(metric, metric))
        letter = chr(ord("a") + i) if i < 26 else str(i + 1)
        figures.panel_title(ax, letter, heading(chosen.iloc[0], several=table["model"].nunique() > 1))
        if i + columns >= len(panels):
            ax.set_xlabel("signed gap distance")
    label(figure, axes.flat[: len(panels)], record)
    return figure


def heading(row: pd.Series, several: bool) -> str:
    """The title of a panel; with the model where there are several."""
    lines = [row["dataset"], f"{row['group']}, n = {row['n']:,}"]
    lines += [row["model"]] if several else []
    return figures.plain("\n".join(part for line in lines for part in wrap(line, 44)))


def draw_panel(ax: plt.Axes, curves: pd.DataFrame, rows: pd.DataFrame) -> None:
    """One metric of one task: the curve along the task's own gap vector with a band, along the captions' a thin one.

    Args:
        ax: where to draw.
        curves: rows of ``zero_shot.csv``, those of the halves among them.
        rows: of ``zero_shot_table.csv``.
    """
    parts = {key: part.set_index("shift") for key, part in curves.groupby(["gap_direction", "split"])}
    chosen = rows[rows["gap_direction"] == "task"].set_index("selection")
    own, where = parts["task", "all"], ["signed_gap_distance", "value"]
    gap = own["signed_gap_distance"]
    ax.fill_between(gap, own["value_low"], own["value_high"], color=figures.INK, alpha=0.13, lw=0, label="95% interval")
    ax.plot(gap, own["value"], "o-", color=figures.INK, ms=1.8, lw=1.3, label="along the task's own gap vector")
    ax.axvline(gap[0.0], color=figures.TEXT, ls="--", lw=1, label="default gap", zorder=1.8)
    if ("captions", "all") in parts:
        gap, value = (parts["captions", "all"][column] for column in where)
        gap = gap.mask(gap.diff().abs() > JUMP)
        ax.plot(gap, value, color=CAPTIONS_COLOUR, lw=0.9, label="along the caption corpus' gap vector", zorder=1.9)
    filled = {"ms": 5.5, "color": HELD_OUT, "mec": "white", "mew": 0.5, "zorder": 4}
    for half, style in (("first half", "<"), ("second half", ">")):
        at = chosen.loc["held_out", f"shift_{half.replace(' ', '_')}"]
        said = f"chosen on the {half}, at its gap and value"
        ax.plot(*parts["task", half].loc[at, where], style, label=said, **filled)
    ring = {"ms": 7, "mfc": "none", "mec": CHOSEN, "mew": 1.5, "zorder": 5}
    ax.plot(*own.loc[chosen.loc["test", "shift"], where], "o", label="chosen on the test data", **ring)
    guess, (low, high) = rows["chance"].iloc[0], ax.get_ylim()
    if low - 0.15 * (high - low) < guess < high:
        ax.axhline(guess, color=figures.MUTED, ls=":", lw=1, label="chance", zorder=1.7)
    ax.margins(x=0.03)


def label(figure: plt.Figure, axes: Sequence[plt.Axes], record: records.Record) -> None:
    """One legend for all panels, and on the face of the figure which data sets are a small model's."""
    handles = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = 4 if figure.get_figwidth() > 8 else 2
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
    lines = "\n".join(wrap(caveat(record), int(19 * figure.get_figwidth())))
    figure.suptitle(figures.plain(lines), x=0.01, ha="left", fontsize=7, color=figures.MUTED)


def caveat(record: records.Record) -> str:
    """The data sets whose numbers are a small model's, and which of these are generated; "" where there are none."""
    table = record.tables["table"]
    generated = {part["name"] for part in record.about["data"] if part.get("generated")}
    small = list(dict.fromkeys(table.loc[table["model"] == SMALL_CLIP, "dataset"]))
    if not small:
        return ""
    drawn = ", ".join(name for name in small if name in generated)
    words = [f"generated data ({drawn})"] if drawn else []
    words += [name for name in small if name not in generated]
    return f"{SMALL_CLIP} on {', '.join(words)}: it shows the phenomenon, not the paper's numbers"


def draw_table(record: records.Record) -> "Styler":
    """Table 1 as the paper prints it, in groups, the published values beside ours; without those where none is ours."""
    ours, theirs = our_cells(record), published_cells()
    if record.about["settings"]["embeddings"]:
        theirs = theirs.iloc[:0]
    order = [*theirs.index, *ours.index.difference(theirs.index, sort=False)]
    order.sort(key=lambda row: GROUPS.index(row[0]) if row[0] in GROUPS else len(GROUPS))
    frame = pd.concat([ours[["Model"]], theirs, ours.drop(columns="Model")], axis=1).reindex(order).fillna(NOTHING)
    there = f"published ({published.values()['table_1']['model'].split(' (')[0]})"
    names = [("", "Model"), *((there, name) for name in theirs), *(("here", name) for name in ours if name != "Model")]
    frame.columns = pd.MultiIndex.from_tuples(names)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["Group", "Data set", "Metric"])
    if (frame[there] == NOTHING).all(axis=None):
        frame = frame.drop(columns=there, level=0)
    style = frame.style.format(escape="html").set_caption(escape(note(record)))
    return style.format_index(escape="html", axis=0).format_index(escape="html", axis=1)


def published_cells() -> pd.DataFrame:
    """The published values, by (group, data set, metric)."""
    rows = pd.DataFrame(published_rows())
    cells = pd.DataFrame({"Default": rows["default"].map("{:.4f}".format), "Modified": with_arrow(rows)})
    return cells.set_axis(list(zip(rows["group"], rows["dataset"], rows["metric"], strict=True)))


def our_cells(record: records.Record) -> pd.DataFrame:
    """Our values, by (group, data set, metric); a data set of the paper's goes by its name there."""
    test, held = chosen_both_ways(record.tables["table"])
    names = record.about["results"]["published_as"]
    cells = pd.DataFrame({"Model": test["model"], "n": test["n"].map("{:,}".format)})
    cells["Default"] = test["default"].map("{:.4f}".format)
    cells["Best on test"], cells["p"] = with_arrow(test), test["p_value_scaled"].map(p_value)
    cells["Held out"], cells["p (held out)"] = with_arrow(held), held["p_value"].map(p_value)
    return cells.set_axis([(g, names[d] or d, m) for g, (d, m) in zip(test["group"], test.index, strict=True)])


def with_arrow(rows: pd.DataFrame) -> pd.Series:
    """The metric at the chosen shift, and how that changes the gap."""
    return rows["modified"].map("{:.4f} ".format) + rows["direction"].map(ARROWS)


def p_value(p: float) -> str:
    """A p-value to two digits after the point, or that it is small."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def note(record: records.Record) -> str:
    """The meaning of the columns, in a few sentences."""
    moved = "both modalities moved" if main_side(record.tables["table"]) == "both" else "images moved"
    said = (
        f"{ARROWS['up']} the gap is widened, {ARROWS['down']} narrowed, {ARROWS['none']} left as it is, "
        f"{ARROWS['mixed']} one half each way; {moved} along the task's own gap vector. Best on test: the shift chosen "
        "on the data that it is reported on, as in the paper. Its p is that of the largest gain over all shifts, each "
        f"divided by its spread ({record.about['settings']['permutations']:,} permutations). Held out: shift and "
        "direction chosen on each half, tested on the other. Its p is of an exact paired test over all items (ROC-AUC: "
        "of a paired bootstrap)."
    )
    return " ".join([said, caveat(record)]).strip()
