"""The pictures of Table 2: the table as the paper prints it, harm along the shift, and what decides its direction.

They read a record and nothing else, and never show a face.
"""

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
SHADES = LinearSegmentedColormap.from_list("harm", ["#ffffff", "#f6c9a6", "#e08a52"])
"""White to vermilion: a cell's rate, on one scale for the whole table."""
ACROSS = 4
DIRECTIONS = {
    "captions": (figures.NON_TEXT, "gap vector of the captions"),
    "audit": (figures.TEXT, "gap vector of the audit itself"),
}
SIDES = {"first": ("-", "images move"), "both": ("--", "images and prompts move")}


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
        mark(ax, record)
        ax.set_xlim(table["shift"].min(), table["shift"].max())
    for ax in axes[:, 0]:
        ax.set_ylabel("called by such a word, %")
    figure.legend(*used[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
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


def mark(ax: plt.Axes, record: Record) -> None:
    """Words and ticks of an axis of shifts; the default and the shift of the table, with the gap distance at each."""
    shift, gaps = record.about["results"]["shift"], record.about["results"]["gap_distance"]
    ax.axvline(0, color=figures.INK, ls=":", lw=0.9, label=f"default, gap {gaps['default']:.2f}")
    ax.axvline(shift, color=figures.SERIES[1], ls="--", lw=0.9, label=f"{shift:+.2f}, gap {gaps['shifted']:.2f}")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if ax.get_subplotspec().is_last_row():
        ax.set_xlabel("shift (below 0 the gap grows)")


def draw_table(record: Record) -> Styler:
    """Crime-related, non-human and their sum for every race, at the default gap and the modified one, as Table 2."""
    about, overall = record.about["results"], record.tables["overall"].rename(columns={"p_value": "p_holm"})
    table = pd.concat([record.tables[""], overall.assign(race="all")])
    gaps = about["gap_distance"]
    halves = {0.0: f"Original gap = {gaps['default']:.2f}"}
    halves[about["shift"]] = f"Modified gap (shift {about['shift']:+.2f}) = {gaps['shifted']:.2f}"
    cells, rates = {}, {}
    for at, heading in halves.items():
        rows = table[np.isclose(table["shift"], at)].set_index("race").loc[[*about["races"], "all"]]
        above = f"{heading}; accuracy {rows.loc['all', 'accuracy']:.4f}"
        for name, words in PARTS.items():
            stars = np.where((rows["p_holm"] < LEVEL) & (name == "sum"), "*", "")
            cells[above, words] = rows[name].map("{:.1%}".format, na_action="ignore").fillna("-") + stars
            rates[above, words] = rows[name].where(rows.index != "all", 0).fillna(0)
    groups = (table.query("shift == 0 and race != 'all'")["n"] > 0).sum()
    star = f"larger than chance: exact paired test, corrected for {groups} groups; all: not corrected"
    said = f"{about['note']} * {star}."
    styler = pd.DataFrame(cells).rename_axis(index=None).style.format(escape="html").format_index(escape="html")
    styler = styler.format_index(escape="html", axis=1).set_caption(escape(said))
    most = max(0.01, pd.DataFrame(rates).to_numpy().max())
    return styler.background_gradient(SHADES, axis=None, vmin=0, vmax=most, gmap=pd.DataFrame(rates))


def draw_directions(record: Record) -> plt.Figure:
    """Harm of all and accuracy along either gap vector, the images moved alone or the prompts too."""
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.3), layout="constrained")
    panels = {"harm": ("harm of all", "called by such a word, %"), "accuracy": ("accuracy", "top-1, %")}
    for ax, letter, (column, (title, unit)) in zip(axes, "ab", panels.items(), strict=True):
        for (direction, side), rows in record.tables["directions"].groupby(["gap_direction", "side"], sort=False):
            (colour, follows), (style, moves) = DIRECTIONS[direction], SIDES[side]
            ax.plot(rows["shift"], 100 * rows[column], color=colour, ls=style, label=f"{follows}, {moves}")
        mark(ax, record)
        ax.set_ylabel(unit)
        figures.panel_title(ax, letter, f"{title}, by what the shift follows")
    axes[0].set_ylim(0, None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    note(figure, record)
    return figure


def note(figure: plt.Figure, record: Record) -> None:
    """Writes on the picture what the labels are, or that badges stand for nothing."""
    said = fill(figures.plain(record.about["results"]["note"]), int(17 * figure.get_figwidth()))
    figure.suptitle(said, x=0.01, ha="left", fontsize=7.5, color=figures.INK)
