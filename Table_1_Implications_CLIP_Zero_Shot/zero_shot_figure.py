"""Drawn from the record of Table 1: the metric against the gap of each task, and the table in print."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd

from evaluation import main_side, shown
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
    panels = list(table[["dataset", "metric"]].drop_duplicates().itertuples(index=False))
    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    size = (3.1 * max(columns, 2), 2.45 * rows + 0.75)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for i, (ax, (dataset, metric)) in enumerate(zip(axes.flat, panels, strict=False)):
        mine = [part[(part["dataset"] == dataset) & (part["metric"] == metric)] for part in (curves, table)]
        draw_panel(ax, *mine)
        ax.set_ylabel(NAMES.get(metric, metric))
        letter = chr(ord("a") + i) if i < 26 else str(i + 1)
        figures.panel_title(ax, letter, heading(mine[1], models(record)))
        if i + columns >= len(panels):
            ax.set_xlabel("signed gap distance")
    label(figure, axes.flat[: len(panels)], record)
    return figure


def models(record: records.Record) -> list[str]:
    """The models of a record, each once."""
    return list(dict.fromkeys(record.tables["table"]["model"]))


def caveat(record: records.Record) -> str:
    """The data sets whose numbers are a small model's, and which of these are generated; "" where there are none."""
    table = record.tables["table"]
    generated = {part["name"] for part in record.about["data"] if part.get("generated")}
    small = list(dict.fromkeys(table.loc[table["model"] == SMALL_CLIP, "dataset"]))
    drawn = ", ".join(name for name in small if name in generated)
    words = [f"generated data ({drawn})"] if drawn else []
    words += [name for name in small if name not in generated]
    if not words:
        return ""
    return f"{SMALL_CLIP} on {', '.join(words)}: it shows the phenomenon, not the paper's numbers"


def heading(rows: pd.DataFrame, among: Sequence[str]) -> str:
    """The title of a panel, in two lines or more; with the model where there are several."""
    first = rows.iloc[0]
    facts = [figures.plain(first["group"]), f"n = {first['n']:,}"]
    facts += [figures.plain(first["model"])] if len(among) > 1 else []
    facts = [facts[0], *(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts[1:])]
    lines = [*wrap(figures.plain(first["dataset"]), 44), *wrap(", ".join(facts), 46)]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def draw_panel(ax: plt.Axes, curves: pd.DataFrame, rows: pd.DataFrame) -> None:
    """One metric of one task: the curve along the task's own gap vector with a band, along the captions' a thin one.

    Args:
        ax: where to draw.
        curves: rows of ``zero_shot.csv``, those of the halves among them.
        rows: of ``zero_shot_table.csv``.
    """
    parts = dict(iter(curves.groupby("split")))
    own = parts["all"][parts["all"]["gap_direction"] == "task"].sort_values("shift")
    gap, value = own["signed_gap_distance"], own["value"]
    ax.fill_between(gap, own["value_low"], own["value_high"], color=figures.INK, alpha=0.13, lw=0, label="95% interval")
    ax.plot(gap, value, "-", color=figures.INK, marker="o", ms=1.8, lw=1.3, label="along the task's own gap vector")
    corpus = parts["all"][parts["all"]["gap_direction"] == "captions"].sort_values("shift")
    if len(corpus):
        gap = corpus["signed_gap_distance"]
        where = gap.mask(gap.diff().abs() > JUMP), corpus["value"]
        ax.plot(*where, color=CAPTIONS_COLOUR, lw=0.9, label="along the caption corpus' gap vector", zorder=1.9)
    at = own.set_index("shift")
    chosen = rows[rows["gap_direction"] == "task"].set_index("selection")
    ax.axvline(at.loc[0.0, "signed_gap_distance"], color=figures.TEXT, ls="--", lw=1, label="default gap", zorder=1.8)
    for half, style in (("first half", "<"), ("second half", ">")):
        mine = parts[half][parts[half]["gap_direction"] == "task"].set_index("shift")
        point = mine.loc[chosen.loc["held_out", f"shift_{half.replace(' ', '_')}"]]
        ax.plot(
            *point[["signed_gap_distance", "value"]], style, ms=5.5, color=HELD_OUT, mec="white", mew=0.5, zorder=4,
            label=f"chosen on the {half}, at its gap and value",
        )  # fmt: skip
    point = at.loc[chosen.loc["test", "shift"]]
    ax.plot(
        *point[["signed_gap_distance", "value"]], "o", ms=7, mfc="none", mec=CHOSEN, mew=1.5, zorder=5,
        label="chosen on the test data",
    )  # fmt: skip
    guess = rows["chance"].iloc[0]
    low, high = ax.get_ylim()
    if low - 0.15 * (high - low) < guess < high:
        ax.axhline(guess, color=figures.MUTED, ls=":", lw=1, label="chance", zorder=1.7)
    ax.margins(x=0.03)


def label(figure: plt.Figure, axes: Sequence[plt.Axes], record: records.Record) -> None:
    """One legend for all panels, and on the face of the figure which data sets are a small model's."""
    handles = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = 4 if figure.get_figwidth() > 8 else 2
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
    if said := caveat(record):
        lines = "\n".join(wrap(said, int(19 * figure.get_figwidth())))
        figure.suptitle(figures.plain(lines), x=0.01, ha="left", fontsize=7, color=figures.MUTED)


def draw_table(record: records.Record) -> "Styler":
    """Table 1 as the paper prints it, in groups, the published values beside ours; without those where none is ours."""
    lines = table_lines(record)
    there = f"published ({published.values()['table_1']['model'].split(' (')[0]})"
    columns = [("", "Model"), (there, "Default"), (there, "Modified"), ("here", "n"), ("here", "Default")]
    columns += [("here", "Best on test"), ("here", "p"), ("here", "Held out"), ("here", "p (held out)")]
    index = pd.MultiIndex.from_tuples([line[:3] for line in lines], names=["Group", "Data set", "Metric"])
    frame = pd.DataFrame([line[3:] for line in lines], index, pd.MultiIndex.from_tuples(columns))
    if (frame[there] == NOTHING).all(axis=None):
        frame = frame.drop(columns=there, level=0)
    style = frame.style.format(escape="html").set_caption(escape(note(record)))
    return style.format_index(escape="html", axis=0).format_index(escape="html", axis=1)


def table_lines(record: records.Record) -> list[list[str]]:
    """The rows of the printed table in the paper's order, ours after them: group, data set, metric, and the cells."""
    mine = shown(record.tables["table"])
    ours = {key: rows.set_index("selection") for key, rows in mine.groupby(["dataset", "metric"], sort=False)}
    own = {theirs: dataset for dataset, theirs in record.about["results"]["published_as"].items() if theirs}
    lines = []
    for row in [] if record.about["settings"]["embeddings"] else published_rows():
        mine = ours.pop((own.get(row["dataset"]), row["metric"]), None)
        values = [f"{row['default']:.4f}", f"{row['modified']:.4f} {ARROWS[row['direction']]}"]
        lines.append([row["group"], row["dataset"], row["metric"], *cells(values, mine)])
    for (dataset, metric), rows in ours.items():
        lines.append([rows["group"].iloc[0], dataset, metric, *cells([NOTHING] * 2, rows)])
    known = [*GROUPS, *(line[0] for line in lines if line[0] not in GROUPS)]
    return sorted(lines, key=lambda line: known.index(line[0]))


def cells(theirs: list[str], ours: pd.DataFrame | None) -> list[str]:
    """The model, the published default and modified, and ours: n, default, best on the test data, p, held out, p.

    Args:
        theirs: the published cells.
        ours: the rows of both ways of choosing, by ``selection``; None where it was not measured.
    """
    if ours is None:
        return [NOTHING, *theirs, *[NOTHING] * 6]
    test, held = ours.loc["test"], ours.loc["held_out"]
    line = [test["model"], *theirs, f"{int(test['n']):,}", f"{test['default']:.4f}"]
    for row, p in ((test, test["p_value_scaled"]), (held, held["p_value"])):
        line += [f"{row['modified']:.4f} {ARROWS[row['direction']]}", p_value(p)]
    return line


def p_value(p: float) -> str:
    """A p-value to two digits after the point, or that it is small."""
    return NOTHING if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


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
