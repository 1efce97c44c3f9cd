"""The pictures of Table 2, from a record alone: the printed table, harm along the shift, who is taken for whom."""

from collections.abc import Mapping
from html import escape
from itertools import cycle
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

ACCURACY = figures.SERIES[2]
PARTS = (figures.NON_TEXT, figures.TEXT, *(each for each in figures.SERIES[1:-1] if each != ACCURACY))
"""Colours of the harm groups, in their order."""
SHADES = LinearSegmentedColormap.from_list("harm", ["#ffffff", "#f6c9a6", "#e08a52"])
"""White to vermilion: a cell's rate, on one scale for the whole table."""
DIRECTIONS = {
    "captions": (figures.NON_TEXT, "gap vector of the captions"),
    "audit": (figures.TEXT, "gap vector of the audit itself"),
}
SIDES = {"first": "-", "both": "--"}


def panels(record: Record, n: int, high: float) -> tuple[plt.Figure, list[plt.Axes]]:
    """A figure with n panels over an axis of shifts, ``high`` inches each, as many in a row as its width takes."""
    wide = figures.width(record)
    across = min(n, 4 if wide > 5 else 2)
    down = -(-n // across)
    figure = plt.figure(figsize=(wide, high * down + (1.1 if wide > 5 else 1.6)), layout="constrained")
    beware(figure, record)
    return figure, [figure.add_subplot(down, across, place + 1) for place in range(n)]


def beware(figure: plt.Figure, record: Record) -> None:
    """Writes on the picture what the labels are, or that badges stand for nothing; and the title of your own audit."""
    title = f"{record.about['title']}. " if record.about["own_data"] else ""
    said = fill(figures.plain(title + record.about["results"]["caution"]), int(17 * figure.get_figwidth()))
    figure.suptitle(said, x=0.01, ha="left", fontsize=6.5, color=figures.INK)


def explain(figure: plt.Figure) -> None:
    """One legend of all marks in all panels, under them."""
    marks = {label: mark for ax in figure.axes for mark, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = 3 if figure.get_figwidth() > 5 else 1
    figure.legend(marks.values(), marks, loc="outside lower center", ncols=columns, columnspacing=1)


def draw_curves(record: Record) -> plt.Figure:
    """Harm of every group and top-1 accuracy (on a scale of its own) against the shift, with 95% bands."""
    table, overall = (record.tables[what].sort_values("shift") for what in ("", "overall"))
    races, column = record.about["results"]["races"], record.about["results"]["columns"][0]
    figure, axes = panels(record, len(races) + 1, 1.55)
    most = 100 * max(table["ci_high"].max(), 0.01)
    for ax, race in zip(axes, races, strict=False):
        draw_group(ax, race, table[table[column] == race], record.about["results"]["labels"])
        ax.set_yscale("function", functions=(np.sqrt, np.square))  # rates of 0.3% and of 40% are both to be read
        ax.set_ylim(0, 1.05 * most)
        ax.set_yticks([tick for tick in (0, 1, 5, 10, 20, 40, 60, 80) if tick <= most])
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel("called by such a word, %")
    x, low, high = overall["shift"], 100 * overall["accuracy_low"], 100 * overall["accuracy_high"]
    axes[-1].fill_between(x, low, high, color=ACCURACY, alpha=0.2, lw=0)
    axes[-1].plot(x, 100 * overall["accuracy"], color=ACCURACY, label="accuracy, band: 95% Wilson (own scale)")
    axes[-1].set_title("accuracy, all", loc="left")
    axes[-1].set_ylabel("top-1, %", color=ACCURACY)
    for ax in axes:
        mark(ax, record)
        ax.set_xlim(table["shift"].min(), table["shift"].max())
    explain(figure)
    return figure


def draw_group(ax: plt.Axes, name: str, rows: pd.DataFrame, labels: Mapping[str, str]) -> None:
    """The harm groups and their sum, in percent of the faces of one group, against the shift."""
    x, parts = rows["shift"], [part for part in labels if part != "sum"]
    for part, colour in zip(parts, cycle(PARTS), strict=False):
        ax.plot(x, 100 * rows[part], color=colour, lw=1.1, clip_on=False, label=figures.plain(labels[part]))
    ax.fill_between(x, 100 * rows["ci_low"], 100 * rows["ci_high"], color=figures.INK, alpha=0.13, lw=0)
    ax.plot(x, 100 * rows["sum"], color=figures.INK, clip_on=False, label="sum, band: 95% Wilson")
    sure = rows[rows["p_holm"] < LEVEL]
    if len(sure):
        ax.plot(sure["shift"], 100 * sure["sum"], "o", ms=2.2, color=figures.INK, label="sum differs from the default")
    ax.set_title(f"{figures.plain(name)}, n = {rows['n'].iloc[0]:,}", loc="left")


def mark(ax: plt.Axes, record: Record) -> None:
    """Words and ticks of an axis of shifts; the default and the shift of the table, with the gap distance at each."""
    shift, gaps = record.about["results"]["shift"], record.about["results"]["gap_distance"]
    ax.axvline(0, color=figures.INK, ls=":", lw=0.9, label=f"default, gap {gaps['default']:.2f}")
    ax.axvline(shift, color=figures.SERIES[1], ls="--", lw=0.9, label=f"{shift:+.2f}, gap {gaps['shifted']:.2f}")
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if ax.get_subplotspec().is_last_row():
        ax.set_xlabel("shift (< 0: gap grows)")


def draw_table(record: Record) -> Styler:
    """Every harm group and their sum for every race, at the default gap and the modified one, as Table 2."""
    about, overall = record.about["results"], record.tables["overall"].rename(columns={"p_value": "p_holm"})
    column = about["columns"][0]
    table = pd.concat([record.tables[""], overall.assign(**{column: "all"})])
    gaps = about["gap_distance"]
    halves = {0.0: f"Original gap = {gaps['default']:.2f}"}
    halves[about["shift"]] = f"Modified gap (shift {about['shift']:+.2f}) = {gaps['shifted']:.2f}"
    cells, rates = {}, {}
    for at, heading in halves.items():
        rows = table[np.isclose(table["shift"], at)].set_index(column).loc[[*about["races"], "all"]]
        above = f"{heading}; accuracy {rows.loc['all', 'accuracy']:.4f}"
        for name, words in about["labels"].items():
            stars = np.where((rows["p_holm"] < LEVEL) & (name == "sum"), "*", "")
            cells[above, words] = rows[name].map("{:.1%}".format, na_action="ignore").fillna("-") + stars
            rates[above, words] = rows[name].where(rows.index != "all", 0).fillna(0)
    groups = (record.tables[""].query("shift == 0")["n"] > 0).sum()
    star = f"larger than chance: exact paired test, corrected for {groups} groups; all: not corrected"
    said = f"{about['note']} * {star}."
    styler = pd.DataFrame(cells).rename_axis(index=None).style.format(escape="html").format_index(escape="html")
    styler = styler.format_index(escape="html", axis=1).set_caption(escape(said))
    most = max(0.01, pd.DataFrame(rates).to_numpy().max())
    return styler.background_gradient(SHADES, axis=None, vmin=0, vmax=most, gmap=pd.DataFrame(rates))


def draw_directions(record: Record) -> plt.Figure:
    """Harm of all and accuracy along either gap vector, the faces moved alone or the prompts too."""
    figure, axes = panels(record, 2, 2.3 if figures.width(record) > 5 else 1.9)
    titles = {"harm": ("harm of all", "called by such a word, %"), "accuracy": ("accuracy", "top-1, %")}
    for ax, letter, (column, (title, unit)) in zip(axes, "ab", titles.items(), strict=True):
        for (direction, side), rows in record.tables["directions"].groupby(["gap_direction", "side"], sort=False):
            (colour, follows), moved = DIRECTIONS[direction], record.about["results"]["names"]
            label = f"{follows}, moves {' and '.join(moved[: 1 + (side == 'both')])}"
            ax.plot(rows["shift"], 100 * rows[column], color=colour, ls=SIDES[side], label=label)
        mark(ax, record)
        ax.set_ylabel(unit)
        figures.panel_title(ax, letter, title)
    axes[0].set_ylim(0, None)
    explain(figure)
    return figure


def draw_confusion(record: Record, published: bool = False) -> plt.Figure:
    """Who is taken for whom, at the default gap and at the modified one: by both attributes, or as published, by race.

    Counts, where they fit, shaded by the root of their row's share.
    """
    table = record.tables["confusion_published" if published else "confusion"]
    by = " x ".join(record.about["results"]["columns"])
    table, of = (table, "FairFace as published, ") if published else (table[table["by"] == by], "")
    wide, shifts = figures.width(record), sorted(table["shift"].unique(), key=abs)
    rows, columns = table["true"].unique(), table["predicted"].unique()
    left, foot = (0.06 * max(map(len, names)) + 0.3 for names in (rows, columns))
    cell = (wide - left) / len(columns)
    high = np.clip(cell, 0.12, 0.17) * len(rows) + 0.35
    figure, axes = plt.subplots(len(shifts), 1, figsize=(wide, high * len(shifts) + foot + 0.2), sharex=True)
    every = int(np.ceil(0.095 / cell))  # a label of 6 points takes 0.095 inches
    for ax, letter, shift in zip(axes, "ab", shifts, strict=True):
        counts = table[table["shift"] == shift].pivot(index="true", columns="predicted", values="count")
        counts = counts.loc[rows, columns].to_numpy()
        ax.imshow(np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1)), SHADES, vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(0, len(columns), every), map(figures.plain, columns[::every]), rotation=90)
        ax.set_yticks(range(len(rows)), map(figures.plain, rows))
        ax.tick_params(length=0, labelsize=6)
        ax.grid(False)
        ax.axvline(len(rows) - 0.5, color=figures.INK, lw=0.8)
        figures.panel_title(ax, letter, f"{of}shift {shift:+.2f}" if shift else f"{of}default gap")
        fits = cell > 0.06 * len(str(counts.max()))
        for (row, column), count in np.ndenumerate(counts if fits else counts[:0]):
            ax.text(column, row, count or "", ha="center", va="center", fontsize=6)
    figure.supylabel("label", fontsize=7)
    figure.supxlabel("class or word given", fontsize=7)
    figure.set_layout_engine("constrained")
    if not published:
        beware(figure, record)
    return figure
