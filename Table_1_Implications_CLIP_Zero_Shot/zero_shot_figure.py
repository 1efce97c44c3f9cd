"""Drawn from the record of Table 1: the metric against the gap of each task, and the table in print."""

import tomllib
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd

from published_gains import chosen_both_ways, published_rows, shown
from util import figures, published, records
from util.reporting.comparisons import is_own
from util.zero_shot.evaluation import main_side

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

WORDS = tomllib.loads((Path(__file__).parent / "captions.toml").read_text())
COLUMNS = {"page": 3, "column": 2}
"""Panels in a row, by --width."""
CHOSEN, HELD_OUT = figures.NON_TEXT, figures.SERIES[3]
ARROWS = {"up": "\N{UPWARDS ARROW}", "down": "\N{DOWNWARDS ARROW}", "none": "=", "mixed": "\N{UP DOWN ARROW}"}
"""How the chosen shift changes the gap."""
GROUPS = ("coarse-grained", "fine-grained", "optical character recognition", "retrieval")
"""The paper's groups in its order, then ours; others come after them."""
SMALL_CLIP = "small CLIP"
NOTHING = "\N{EN DASH}"


def draw(record: records.Record) -> plt.Figure:
    """Every headline metric against the signed gap distance, a panel for each task and metric, all on the same axes."""
    table, curves = (shown(record.tables[what]) for what in ("table", ""))
    curves = curves[curves["split"] == "all"].set_index(["dataset", "metric"])
    reached = record.tables["reach"].set_index(["dataset", "metric"])
    panels = list(table.groupby(["dataset", "metric"], sort=False))
    columns = min(len(panels), COLUMNS[record.about["settings"].get("width", "page")])
    width = figures.width(record) if columns > 1 else figures.WIDTHS["column"]
    rows, several = -(-len(panels) // columns), table["model"].nunique() > 1
    figure = plt.figure(figsize=(width, 1.75 * rows + 1.1), layout="constrained")
    for i, (key, chosen) in enumerate(panels):
        ax = figure.add_subplot(rows, columns, i + 1, xlim=(-2.05, 2.05), ylim=(0, 1.05), xticks=range(-2, 3))
        both = chosen.set_index("selection")
        draw_panel(ax, curves.loc[key].set_index("shift"), both)
        above = ax.lines[0].get_ydata().min() < 0.45
        said = sure(both, reached.loc[key] if key in reached.index else None)
        box = {"fc": "white", "ec": "none", "alpha": 0.85, "pad": 0.5}
        ax.text(-1.95, 1.02 if above else 0.68, said, va="top", fontsize=6, linespacing=1.25, bbox=box)
        figures.panel_title(ax, chr(ord("a") + i) if i < 26 else str(i + 1), heading(chosen.iloc[0], several, columns))
        ax.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(panels))
        ax.set_xlabel("signed gap distance" if i + columns >= len(panels) else "")
    label(figure, record)
    return figure


def heading(row: pd.Series, several: bool, columns: int = 3) -> str:
    """The title of a panel; with the model where there are several."""
    widest, model = 24 if columns == COLUMNS["column"] else 36, f", {row['model']}" if several else ""
    below = wrap(row["metric"].replace("top-1", "accuracy (top-1)"), widest) + wrap(f"n = {row['n']:,}{model}", widest)
    return figures.plain("\n".join(wrap(row["dataset"], widest - 3) + below))


def sure(chosen: pd.DataFrame, reached: pd.Series | None) -> str:
    """What a panel says of both gains, and of how many items any shift changes; ``chosen`` by selection."""
    test, held = (chosen.loc[name] for name in ("test", "held_out"))
    lines = [f"best {test['gain']:+.4f}, p {p_value(test['p_value'], '= ')}"]
    lines += [f"held out {held['gain']:+.4f}, p {p_value(held['p_value'], '= ')}"]
    if reached is not None:
        lines += [f"changes {reached['changes']:.0%}, at most {reached['can_change']:.0%}"]
    return "\n".join(lines)


def draw_panel(ax: plt.Axes, curve: pd.DataFrame, chosen: pd.DataFrame) -> None:
    """One metric of one task along its own gap vector: rows of the curve by shift, of the table by selection."""
    gap, where = curve["signed_gap_distance"], ["signed_gap_distance", "value"]
    ax.plot(gap, curve["value"], "o-", color=figures.INK, ms=1.5, lw=1, label="the metric after each shift")
    low, high = curve["value_low"], curve["value_high"]
    ax.fill_between(gap, low, high, color=figures.INK, alpha=0.15, lw=0, label="95% interval of each point")
    ax.axvline(gap[0.0], color=figures.TEXT, ls="--", lw=0.8, label="default gap", zorder=1.8)
    ax.axhline(chosen["chance"].iloc[0], color=figures.MUTED, ls=":", lw=1, label="chance", zorder=1.7)
    ring = {"ms": 6.5, "mfc": "none", "mec": CHOSEN, "mew": 1.2, "zorder": 5}
    ax.plot(*curve.loc[chosen.loc["test", "shift"], where], "o", label="best on the test data", **ring)
    diamond = {"ms": 4, "color": HELD_OUT, "mec": "white", "mew": 0.4, "zorder": 4}
    ax.plot(*curve.loc[chosen.loc["held_out", "shift"], where], "D", label="chosen by most halves", **diamond)


def label(figure: plt.Figure, record: records.Record) -> None:
    """One legend for all panels, and on the face of the figure which data sets are a small model's."""
    page = figure.get_figwidth() > 5
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3 if page else 2, columnspacing=1.2, handletextpad=0.5)
    lines = "\n".join(wrap(caveat(record), int(19 * figure.get_figwidth())))
    figure.suptitle(figures.plain(lines), x=0.01, ha="left", fontsize=6.5, color=figures.MUTED)


def caveat(record: records.Record) -> str:
    """The data sets whose numbers are a small model's, and which of these are generated; "" where there are none."""
    table = record.tables["table"]
    generated = {part["name"] for part in record.about["data"] if part.get("generated")}
    small = table.loc[table["model"] == SMALL_CLIP, "dataset"].unique()
    drawn = ", ".join(name for name in small if name in generated)
    words = [f"generated data ({drawn})"] if drawn else []
    words = ", ".join([*words, *(name for name in small if name not in generated)])
    return f"{SMALL_CLIP} on {words}: it shows the phenomenon, not the paper's numbers" if words else ""


def draw_table(record: records.Record) -> "Styler":
    """Table 1 as the paper prints it, in groups, the published values beside ours; without those where none is ours."""
    ours, theirs = our_cells(record), published_cells()
    there = f"published ({published.values()['table_1']['model'].split(' (')[0]})"
    parts = {"": ours[["Model"]], there: theirs, "here": ours.drop(columns="Model")}
    if is_own(record):
        theirs = parts.pop(there).iloc[:0]
    order = [*theirs.index, *ours.index.difference(theirs.index, sort=False)]
    order.sort(key=lambda row: GROUPS.index(row[0]) if row[0] in GROUPS else len(GROUPS))
    frame = pd.concat(parts, axis=1).reindex(order).fillna(NOTHING)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["Group", "Data set", "Metric"])
    moved = "both modalities" if main_side(record.tables["table"]["side"]) == "both" else "images"
    numbers = {name: record.about["settings"][name] for name in ("permutations", "splits")}
    note = WORDS["note"].format(**ARROWS, **numbers, moved=moved, caveat=caveat(record)).strip()
    style = frame.style.format(escape="html").set_caption(escape(note))
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
    cells["Best on test"], cells["p"] = with_arrow(test), test["p_value"].map(p_value)
    cells["Held out"], cells["p (held out)"] = with_arrow(held), held["p_value"].map(p_value)
    return cells.set_axis([(g, names[d] or d, m) for g, (d, m) in zip(test["group"], test.index, strict=True)])


def with_arrow(rows: pd.DataFrame) -> pd.Series:
    """The metric at the chosen shift, and how that changes the gap."""
    return rows["modified"].map("{:.4f} ".format) + rows["direction"].map(ARROWS)


def p_value(p: float, equals: str = "") -> str:
    """A p-value to two or three digits after the point, behind ``equals``, or that it is small."""
    return "< 0.001" if p < 0.001 else f"{equals}{p:.{3 if p < 0.1 else 2}f}"
