"""The pictures of Table 2: the table as the paper prints it, harm along the shift, and what decides its direction.

They read a record and nothing else, and never show a face.
"""

from collections.abc import Mapping
from html import escape
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from util import figures
from util.fairness.audit import LEVEL
from util.records import Record

PARTS = {"crime_related": "crime-related", "non_human": "non-human", "sum": "sum"}
"""Columns of ``denigration.csv`` and what the table and the legend call them."""
PART_COLOURS = {"crime_related": figures.NON_TEXT, "non_human": figures.TEXT}
ACCURACY = figures.SERIES[2]
MARKS = {"default": (figures.INK, ":"), "shifted": (figures.SERIES[1], "--")}
SHADES = LinearSegmentedColormap.from_list("harm", ["#ffffff", "#f6c9a6", "#e08a52"])
"""White to vermilion: a cell's rate, on one scale for the whole table."""
ACROSS = 4
DIRECTIONS = {
    "captions": (figures.NON_TEXT, "gap vector of the captions"),
    "audit": (figures.TEXT, "gap vector of the audit itself"),
}
OTHER_GAP = {
    "captions": ("audit_gap_distance", "the audit's own"),
    "audit": ("caption_gap_distance", "the captions'"),
}
"""By what the shift follows: the column of the other gap, and whose that is."""
SIDES = {"first": ("-", "images move"), "both": ("--", "images and prompts move")}
SHIFT_LABEL = "shift (below 0 the gap grows)"


def draw_curves(record: Record) -> plt.Figure:
    """Harm of every race and accuracy against the shift, with 95% bands; the default and the paper's shift marked."""
    table, overall = (record.tables[what].sort_values("shift") for what in ("", "overall"))
    races = record.about["results"]["races"]
    down = -(-(len(races) + 1) // ACROSS)
    figure, axes = plt.subplots(down, ACROSS, figsize=(9.6, 2.1 * down + 0.8), layout="constrained", squeeze=False)
    used, spare = axes.flat[: len(races) + 1], axes.flat[len(races) + 1 :]
    for ax, race in zip(used, races, strict=False):
        draw_race(ax, table[table["race"] == race])
    draw_accuracy(used[-1], overall)
    for ax in spare:
        ax.set_axis_off()
    for ax in used:
        mark(ax, record.about["results"])
        ax.set_xlim(table["shift"].min(), table["shift"].max())
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    for ax in axes[:, 0]:
        ax.set_ylabel("called by such a word, %")
    for ax in axes[-1]:
        ax.set_xlabel(SHIFT_LABEL)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    note(figure, record)
    return figure


def draw_race(ax: plt.Axes, rows: pd.DataFrame) -> None:
    """Both harm groups and their sum, in percent of one race, against the shift."""
    first, x = rows.iloc[0], rows["shift"]
    for name, colour in PART_COLOURS.items():
        ax.plot(x, 100 * rows[name], color=colour, lw=1.1, label=PARTS[name])
    ax.fill_between(x, 100 * rows["ci_low"], 100 * rows["ci_high"], color=figures.INK, alpha=0.13, lw=0)
    ax.plot(x, 100 * rows["sum"], color=figures.INK, label="sum, with its 95% band")
    sure = rows[rows["p_holm"] < LEVEL]
    ax.plot(sure["shift"], 100 * sure["sum"], "o", ms=2.6, color=figures.INK, label="differs from the default")
    ax.set_ylim(0, None)
    ax.set_title(f"{figures.plain(str(first['race']))}, n = {first['n']:,}", loc="left")


def draw_accuracy(ax: plt.Axes, overall: pd.DataFrame) -> None:
    """Top-1 accuracy over the classes of race and gender against the shift."""
    x, low, high = overall["shift"], 100 * overall["accuracy_low"], 100 * overall["accuracy_high"]
    ax.fill_between(x, low, high, color=ACCURACY, alpha=0.2, lw=0)
    ax.plot(x, 100 * overall["accuracy"], color=ACCURACY)
    ax.set_title("accuracy, all", loc="left")
    ax.set_ylabel("top-1, %")


def mark(ax: plt.Axes, about: Mapping) -> None:
    """The default and the shift of the table, with the gap distance at each."""
    for at, (key, (colour, style)) in zip((0, about["shift"]), MARKS.items(), strict=True):
        name = "default" if at == 0 else f"{at:+.2f}"
        ax.axvline(at, color=colour, ls=style, lw=0.9, label=f"{name}, gap {about['gap_distance'][key]:.2f}")


def draw_table(record: Record) -> Styler:
    """Crime-related, non-human and their sum for every race, at the default gap and the modified one, as Table 2."""
    about, overall = record.about["results"], record.tables["overall"].rename(columns={"p_value": "p_holm"})
    table = pd.concat([record.tables[""], overall.assign(race="all")])
    cells, rates = {}, {}
    for at, when in ((0.0, "default"), (about["shift"], "shifted")):
        rows = table[np.isclose(table["shift"], at)].set_index("race").loc[[*about["races"], "all"]]
        above = heading(record, rows.loc["all"], at, about["gap_distance"][when])
        for name, words in PARTS.items():
            stars = np.where((rows["p_holm"] < LEVEL) & (name == "sum"), "*", "")
            cells[above, words] = rows[name].map("{:.1%}".format, na_action="ignore").fillna("-") + stars
            rates[above, words] = rows[name].where(rows.index != "all", 0).fillna(0)
    groups = (table.query("shift == 0 and race != 'all'")["n"] > 0).sum()
    said = (
        f"{about['note']} * larger than chance: exact paired test, corrected for {groups} groups; all: not corrected."
    )
    styler = pd.DataFrame(cells).rename_axis(index=None).style.format(escape="html").format_index(escape="html")
    styler = styler.format_index(escape="html", axis=1).set_caption(escape(said))
    most = max(0.01, pd.DataFrame(rates).to_numpy().max())
    return styler.background_gradient(SHADES, axis=None, vmin=0, vmax=most, gmap=pd.DataFrame(rates))


def heading(record: Record, row: pd.Series, shift: float, gap: float) -> str:
    """Words over one half of the table: the gap that the shift follows, the other gap where there is one, accuracy."""
    name = "Original gap" if shift == 0 else f"Modified gap (shift {shift:+.2f})"
    column, whose = OTHER_GAP[record.about["settings"]["gap_direction"]]
    other = "" if pd.isna(row[column]) else f"; {whose} gap {row[column]:.2f}"
    return f"{name} = {gap:.2f}{other}; accuracy {row['accuracy']:.4f}"


def draw_directions(record: Record) -> plt.Figure:
    """Harm of all and accuracy along either gap vector, one side or both moved; of badges, harm by training share."""
    table, about = record.tables["directions"], record.about["results"]
    shares = about["training_share"]
    figure, axes = plt.subplots(1, 3 if shares else 2, figsize=(9.6 if shares else 7.0, 3.1), layout="constrained")
    for ax, letter, column, title in zip(axes, "ab", ("harm", "accuracy"), ("harm of all", "accuracy"), strict=False):
        for (direction, side), rows in table.groupby(["gap_direction", "side"], sort=False):
            (colour, follows), (style, moves) = DIRECTIONS[direction], SIDES[side]
            ax.plot(rows["shift"], 100 * rows[column], color=colour, ls=style, label=f"{follows}, {moves}")
        ax.axvline(0, color=figures.INK, ls=":", lw=0.9, label="default")
        ax.axvline(about["shift"], color=figures.MUTED, ls="-.", lw=0.9, label="shift of the table")
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set(xlabel=SHIFT_LABEL, ylabel="called by such a word, %" if column == "harm" else "top-1, %")
        figures.panel_title(ax, letter, f"{title}, by what the shift follows")
    axes[0].set_ylim(0, None)
    if shares:
        draw_shares(axes[2], record.tables[""].query("shift == 0"), shares)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    note(figure, record)
    return figure


def draw_shares(ax: plt.Axes, default: pd.DataFrame, shares: Mapping[str, float]) -> None:
    """Harm of every group at the default gap against its share of the training badges."""
    x, rates = 100 * default["race"].map(shares), 100 * default["sum"]
    bars = (rates - 100 * default["ci_low"], 100 * default["ci_high"] - rates)
    ax.errorbar(x, rates, bars, fmt="o", ms=4, lw=1, color=figures.INK)
    for at, rate, race in zip(x, rates, default["race"], strict=True):
        ax.annotate(race, (at, rate), xytext=(4, 4), textcoords="offset points", fontsize=7, color=figures.MUTED)
    ax.set_xscale("log")
    ticks = sorted(100 * share for share in shares.values())
    ax.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    ax.minorticks_off()
    ax.margins(x=0.16)
    ax.set(xlabel="share of the training badges, %", ylabel="harm at the default gap, %", ylim=(0, None))
    figures.panel_title(ax, "c", "harm against training share")


def note(figure: plt.Figure, record: Record) -> None:
    """Writes on the picture what the labels are, or that badges stand for nothing."""
    said = fill(figures.plain(record.about["results"]["note"]), int(17 * figure.get_figwidth()))
    figure.suptitle(said, x=0.01, ha="left", fontsize=7.5, color=figures.INK)
