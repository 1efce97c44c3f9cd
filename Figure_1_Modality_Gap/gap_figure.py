"""The picture of Figure 1: one view of both modalities for each panel, and the numbers above it."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from panels import PUBLISHED
from systems import SYSTEMS
from util import figures, records

LETTERS = {"trained": "b", "random": "c"}
"""Panels of the paper's figure."""
METHODS = {"umap": "UMAP", "pca": "principal components", "svd": "singular vectors"}
ACROSS, LETTERS_ACROSS = 4, 46
"""Panels in a row of the figure, and letters across one, at most."""
CAPTION = (
    "Each panel: one two-dimensional view of both modalities together, a thin line for each pair. (b) trained weights, "
    "(c) random weights. Over each panel: gap distance, mean cosine of matched pairs, mean cosine of two rows of one "
    "modality, relative gap (RMG; 0.5: a matched pair is as far apart as any two rows of one modality), and the share "
    "of held-out rows that a plane assigns to their own modality."
)


def draw(record: records.Record) -> plt.Figure:
    """Every panel of the record: published before others, trained before random weights."""
    table, points = in_order(record.tables[""]), record.tables["points"]
    method = record.about["settings"]["method"]
    rows = -(-len(table) // ACROSS)
    across = -(-len(table) // rows)
    size = (max(2.4 * across, 3.2), 3.05 * rows + 0.6)
    figure = plt.figure(figsize=size, layout="constrained")
    for place, facts in enumerate(table.to_dict("records"), start=1):
        mine = points["method"] == method
        for name in ("system", "weights", "source", "kind"):
            mine &= points[name] == facts[name]
        draw_panel(figure.add_subplot(rows, across, place), facts, points[mine])
    label(figure, record, method)
    return figure


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The panels in the paper's order; your own in the order of the files."""
    weights, kinds = ["given", *LETTERS], [*(system.kind for system in SYSTEMS.values()), *table["kind"]]
    return table.assign(
        run_here=table["source"] != PUBLISHED,
        place=[weights.index(value) for value in table["weights"]],
        order=[kinds.index(kind) for kind in table["kind"]],
    ).sort_values(["run_here", "place", "order"], kind="stable")


def draw_panel(ax: plt.Axes, facts: dict, points: pd.DataFrame) -> None:
    """Both modalities in one view, a line for each pair, the numbers above; axes have no unit and are not drawn."""
    other, text = (points[points["modality"] == facts[key]] for key in ("other", "text"))
    if not other["pair"].isna().any():
        ends = np.stack([rows[["x", "y"]].to_numpy() for rows in (other, text)], axis=1)
        alpha = 0.12 if len(ends) > 200 else 0.3
        ax.add_collection(LineCollection(ends, colors=figures.INK, linewidths=0.25, alpha=alpha, zorder=1))
    for rows, colour in ((other, figures.NON_TEXT), (text, figures.TEXT)):
        ax.scatter(rows["x"], rows["y"], s=5 if len(rows) > 100 else 9, color=colour, linewidths=0, alpha=0.8, zorder=2)
    ax.margins(0.05)
    ax.set_axis_off()
    weights = {"given": ""}.get(facts["weights"], f", {facts['weights']} weights")
    lines = [*wrap(facts["system"] + weights, LETTERS_ACROSS), *wrap(facts["source"], LETTERS_ACROSS)]
    lines += numbers_in_words(facts, len(other))
    letter = LETTERS.get(facts["weights"])
    letter = f"$\\bf{{({letter})}}$ " if letter else ""
    ax.set_title(letter + figures.plain("\n".join(lines)), fontsize=6, loc="left", linespacing=1.3)


def numbers_in_words(facts: dict, shown: int) -> list[str]:
    """The panel's numbers in short lines, with how many rows the picture and the separability are of."""
    both = (facts["n_other"], facts["n_text"])
    n = f"{facts['n_pairs']:,} pairs" if facts["n_pairs"] else f"{both[0]:,} and {both[1]:,}, not paired"
    few, used = shown < max(*both, facts["n_pairs"]), facts["separability_rows"]
    relative = "" if pd.isna(facts["relative_gap"]) else f"RMG {facts['relative_gap']:.3f}, "
    matched = "" if pd.isna(facts["matched_cosine"]) else f", matched cosine {facts['matched_cosine']:.3f}"
    within = f"{facts['other']} {facts['mean_cosine_other']:.3f}, {facts['text']} {facts['mean_cosine_text']:.3f}"
    sampled = f" ({used:,} of each)" if used < min(both) else ""
    return [
        n + (f", {shown:,} of each shown" if few else ""),
        f"gap {facts['gap_distance']:.3f}{matched}",
        f"cosine within {within}",
        f"{relative}separable {facts['separability']:.1%}{sampled}",
    ]


def label(figure: plt.Figure, record: records.Record, method: str) -> None:
    """The two colours and the method below; on the face of the figure what it is not."""
    table, width = record.tables[""], figure.get_figwidth()
    names = [", ".join(dict.fromkeys(table[column])) for column in ("other", "text")]
    handles = [
        plt.Line2D([], [], marker="o", ls="", ms=4, color=colour, label=figures.plain(name))
        for name, colour in zip(names, (figures.NON_TEXT, figures.TEXT), strict=True)
    ]
    handles.append(plt.Line2D([], [], color=figures.INK, lw=0.6, alpha=0.6, label="a pair"))
    title = "\n".join(wrap(f"{METHODS[method]} of both modalities together; axes have no unit", int(16 * width)))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=7)
    if any(part.get("generated") for part in record.about["data"]):
        preset = record.about["settings"]["preset"]
        note = f"{preset} preset: inputs are generated where it says so, with a small trained model or random weights; "
        note += "that shows the phenomenon, not the paper's numbers"
        figure.suptitle("\n".join(wrap(note, int(19 * width))), x=0.01, ha="left", fontsize=6.5, color=figures.MUTED)
