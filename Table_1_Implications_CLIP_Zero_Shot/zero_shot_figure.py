"""The pictures of Table 1, drawn from its record: the metric against the gap of each task, and the table in print."""

from collections.abc import Mapping, Sequence
from textwrap import shorten, wrap

import matplotlib.pyplot as plt
import pandas as pd

from util import figures, records

COLUMNS = 3
"""Panels in a row."""
CAPTIONS_COLOUR = figures.SERIES[1]
CHOSEN, HELD_OUT = figures.OTHER, figures.SERIES[3]
ARROWS = {"up": "\N{UPWARDS ARROW}", "down": "\N{DOWNWARDS ARROW}", "none": "=", "mixed": "\N{UP DOWN ARROW}"}
"""What the chosen shift does to the gap."""
NAMES = {"top-1": "accuracy (top-1)"}
GROUPS = ("coarse-grained", "fine-grained", "optical character recognition", "retrieval")
"""The paper's groups in its order, then ours; others come after them."""
SMALL_CLIP = "small CLIP"
MARKS = ("", " *", " \N{DAGGER}", " \N{DOUBLE DAGGER}")
"""After a data set's name in the table: the first, second, third, fourth model."""
JUMP = 0.5
"""The line is broken where the gap changes its sign without having been small, as along a direction not its own."""
WIDEST, ELLIPSIS = 26, "\N{HORIZONTAL ELLIPSIS}"
"""Letters of a data set's name in the table at most."""
NOTHING = "\N{EN DASH}"


def main_side(table: pd.DataFrame) -> str:
    """The side that the pictures show: both modalities moved where that was measured, otherwise the only one."""
    return "both" if (table["side"] == "both").any() else table["side"].iloc[0]


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of that side."""
    return table[table["side"] == main_side(table)]


def draw(record: records.Record) -> plt.Figure:
    """Every headline metric against the signed gap distance, a panel for each task and metric."""
    table, curves = shown(record.tables["table"]), shown(record.tables[""])
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
    """Of which data sets the numbers are a small model's, and which of these are generated; "" where of none."""
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
    """What a panel is of, in two lines or more; by which model where there are several."""
    first = rows.iloc[0]
    facts = [figures.plain(first["group"]), f"n = {first['n']:,}"]
    facts += [figures.plain(first["model"])] if len(among) > 1 else []
    kept = [facts[0], *(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts[1:])]
    lines = [*wrap(figures.plain(first["dataset"]), 44), *wrap(", ".join(kept), 46)]
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
            label="chosen on one half, at its gap and value" if style == "<" else None,
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


def layout(record: records.Record, published: Mapping) -> list[tuple]:
    """The rows of the printed table: ("group", name), or ("row", cells) with the published values beside ours."""
    table = shown(record.tables["table"])
    table = table[table["gap_direction"] == "task"]
    ours = {key: rows.set_index("selection") for key, rows in table.groupby(["dataset", "metric"], sort=False)}
    names, among = record.about["results"]["published_as"], models(record)
    theirs = {row["dataset"]: row for row in published["rows"]}
    lines = [
        (row["group"], cells(name, row["metric"], row, ours.get((_own_name(names, name), row["metric"])), among))
        for name, row in theirs.items()
    ]
    for (dataset, metric), rows in ours.items():
        if names.get(dataset) not in theirs:
            lines.append((rows["group"].iloc[0], cells(dataset, metric, None, rows, among)))
    known = [*GROUPS, *(group for group, _ in lines if group not in GROUPS)]
    result = []
    for group in dict.fromkeys(known):
        mine = [("row", row) for name, row in lines if name == group]
        result += [("group", group), *mine] if mine else []
    return result


def _own_name(names: Mapping, published: str) -> str | None:
    return next((dataset for dataset, name in names.items() if name == published), None)


def cells(
    dataset: str, metric: str, theirs: Mapping | None, ours: pd.DataFrame | None, among: Sequence[str]
) -> list[str]:
    """One line: names; published default and modified; ours: default, best on the test data, p, held out, p.

    Args:
        dataset: its name.
        metric: its name.
        theirs: the published row, None for none.
        ours: the rows of both ways of choosing, by ``selection``; None where it was not measured.
        among: the models of the record, for the mark behind the name.
    """
    there = [f"{theirs['default']:.4f}", f"{theirs['modified']:.4f} {ARROWS[theirs['direction']]}"] if theirs else []
    name = shorten(dataset, WIDEST, placeholder=ELLIPSIS) + ("" if ours is None else mark(among, ours["model"].iloc[0]))
    line = [figures.plain(name), metric, *(there or [NOTHING] * 2)]
    if ours is None:
        return [*line, *[NOTHING] * 6]
    test, held = ours.loc["test"], ours.loc["held_out"]
    here = [f"{int(test['n']):,}", f"{test['default']:.4f}"]
    for row, p in ((test, test["p_value_scaled"]), (held, held["p_value"])):
        here += [f"{row['modified']:.4f} {ARROWS[row['direction']]}", p_value(p)]
    return line + here


def p_value(p: float) -> str:
    """A p-value to two digits after the point, or that it is small."""
    return NOTHING if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


HEADINGS = ("Data set", "Metric", "Default", "Modified", "n", "Default", "Best on test", "p", "Held out", "p")
LEFT = (0.0, 0.205)
RIGHT = (0.435, 0.525, 0.6, 0.68, 0.785, 0.85, 0.945, 1.0)
"""Where columns begin (names) and end (numbers), as shares of the width."""
LINE = 0.235
"""Inches from line to line."""


def draw_table(record: records.Record, published: Mapping) -> plt.Figure:
    """Table 1 as the paper prints it, in groups, with the published values beside ours."""
    lines = layout(record, published)
    note = notes(record)
    inches = LINE * (len(lines) + 3.4 + len(note) * 0.75)
    figure = plt.figure(figsize=(8.6, inches))
    ax = figure.add_axes((0.02, 0.0, 0.96, 1.0))
    ax.set(xlim=(0, 1), ylim=(inches / LINE, 0))
    ax.set_axis_off()
    rule(ax, 0.45, 1.3)
    for (left, right), text in (((0.36, 0.525), published_heading(published)), ((0.55, 1.0), here_heading(record))):
        ax.text((left + right) / 2, 1.0, text, ha="center", va="center", fontsize=8, color=figures.MUTED)
        rule(ax, 1.45, 0.6, left, right)
    put(ax, 2.0, HEADINGS, weight="bold")
    rule(ax, 2.55, 0.8)
    y = 3.1
    for kind, line in lines:
        if kind == "group":
            ax.text(
                0,
                y,
                figures.plain(line[:1].upper() + line[1:]),
                va="center",
                fontsize=8,
                style="italic",
                color=figures.MUTED,
            )
        else:
            put(ax, y, line)
        y += 1
    rule(ax, y - 0.45, 1.3)
    for i, text in enumerate(note):
        ax.text(0, y + 0.2 + 0.75 * i, text, va="center", fontsize=6.5, color=figures.MUTED)
    return figure


def put(ax: plt.Axes, y: float, line: Sequence[str], **style) -> None:
    """One line of cells."""
    for x, text in zip(LEFT, line[:2], strict=True):
        ax.text(x + (0.012 if x == 0 and not style else 0), y, text, va="center", fontsize=8, **style)
    for x, text in zip(RIGHT, line[2:], strict=True):
        ax.text(x, y, text, ha="right", va="center", fontsize=8, **style)


def rule(ax: plt.Axes, y: float, width: float, left: float = 0.0, right: float = 1.0) -> None:
    """A horizontal line across the table."""
    ax.plot([left, right], [y, y], color=figures.INK, lw=width, solid_capstyle="butt")


def published_heading(published: Mapping) -> str:
    """Whose numbers the published ones are."""
    return f"published ({published['model'].split(' (')[0]})"


def here_heading(record: records.Record) -> str:
    """Whose numbers ours are, with the mark of each model's rows where there are several."""
    names = models(record)
    return figures.plain(f"here ({', '.join(mark(names, name).lstrip() + name for name in names)})")


def mark(names: Sequence[str], model: str) -> str:
    """What follows the name of a data set that a model was measured on; nothing for the first model."""
    number = names.index(model)
    return MARKS[number] if number < len(MARKS) else f" [{number + 1}]"


def notes(record: records.Record) -> list[str]:
    """What the columns mean, in short lines."""
    side = main_side(record.tables["table"])
    moved = "both modalities moved" if side == "both" else "images moved"
    draws = record.about["settings"]["permutations"]
    text = (
        f"{ARROWS['up']} the gap is widened, {ARROWS['down']} narrowed, {ARROWS['none']} left as it is, "
        f"{ARROWS['mixed']} one half each way; {moved} along the task's own gap vector. Best on test: the shift chosen "
        "on the data that it is reported on, as the paper does; p of the largest gain over all shifts, each divided by "
        f"its spread ({draws:,} permutations). Held out: shift and direction chosen on each half, tested on the other; "
        "p of an exact paired test over all items (ROC-AUC: of a paired bootstrap). The first p is p_value_scaled of "
        "zero_shot_table.csv, whose p_value is of gains that are not divided."
    )
    lines = wrap(text, 176)
    return lines + [figures.plain(line) for line in wrap(caveat(record), 176)]
