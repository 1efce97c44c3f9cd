"""Figure 1: the modality gap across four pairs of modalities, with trained and with random weights.

Images and texts, videos and texts, radiographs and reports, amino-acid sequences and descriptions: each model puts
the two into different regions of its sphere, after training and before. One UMAP for each panel, fitted on both
modalities together, with a line for each pair, and the numbers of the gap beside it.

    python Figure_1_Modality_Gap/modality_gap.py                              (embedded: under a minute on 2 cores)
    python Figure_1_Modality_Gap/modality_gap.py --embeddings a.npy --embeddings b.npz
    python Figure_1_Modality_Gap/modality_gap.py --preset paper --fetch       (downloads embeddings, models and MSCOCO)

Expect, on the embeddings that the authors published for CLIP ViT-B/16 (500 MSCOCO pairs): gap distance 0.851 trained
and 1.136 with random weights.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.collections import LineCollection
from tqdm import tqdm

import panels
from util import UserError, cli, figures, files, records
from util.geometry import unit_rows
from util.measures import MOST, Measures, measure, pairs_of, sample
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, svd_coordinates, umap_coordinates

NAME = "modality_gap"
Method = Literal["umap", "pca", "svd"]
LiveSystem = Literal["clip", "videoclip", "convirt", "clasp"]
LETTERS = {"trained": "b", "random": "c"}
"""Panels of the paper's figure."""
ACROSS, ACROSS_WORDS = 5, 40
"""Panels in a row of the figure at most; letters across one."""
APART = 0.95
"""Separability from which the modalities count as lying in different regions."""
CAPTIONS = {
    NAME: "Each panel: one two-dimensional view of both modalities together, a thin line for each pair. Above: trained "
    "weights, as Figure 1 (b) of the paper; below: random weights, as (c). Over each panel: gap distance, mean cosine "
    "of matched pairs, mean cosine of two rows of one modality, relative gap (RMG; 0.5: a matched pair is as far apart "
    "as any two rows of one modality), and the share of held-out rows that a plane assigns to their own modality.",
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_1_Modality_Gap"
    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npy, .npz or .safetensors, in place of all else; repeatable, of any sizes and widths."""
    method: Method = "umap"
    """The view that is drawn; the table of points holds all three."""
    points: int = 500
    """Most rows of each modality in a picture, a random subset by the seed; the numbers use all."""
    separability_rows: int = MOST
    """Most rows of each modality that the separability is measured on, a random subset by the seed."""
    neighbours: int = 15
    """UMAP: size of a row's neighbourhood."""
    min_dist: float = 0.1
    """UMAP: least distance of points in the picture."""
    fetch: bool = False
    """Ask the network for published embeddings and trained weights that are not here."""
    systems: tuple[LiveSystem, ...] = ("clip", "videoclip", "convirt", "clasp")
    """Which systems to run live, beside their published embeddings; "--systems" alone: none."""
    images: int | None = None
    """Images to embed with their texts, at most; by default 500 generated ones or MSCOCO's, all of your own."""
    videos: int | None = None
    """Videos; by default 12 generated ones, all of your own."""
    radiographs: int | None = None
    """Medical images; by default 32 generated ones, all of your own."""
    sequences: int | None = None
    """Amino-acid sequences; by default 24 generated ones, all of your own."""
    image_data: Path | None = None
    """A folder of your own pictures with captions.csv or captions.tsv (columns file, text), for CLIP."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/ or train2017/), for CLIP."""
    video_data: Path | None = None
    """A folder of videos, or of folders of frames, with the same table."""
    medical_data: Path | None = None
    """A folder of medical images with the same table."""
    protein_data: Path | None = None
    """A FASTA file, or a tab-separated one (columns sequence, text)."""
    caption: Literal["first", "last"] = "last"
    """Which caption of an item that has several; last, as released for this figure."""
    model: str = "ViT-B-16:openai"
    """open_clip model and its trained weights (a tag or a checkpoint file), in paper or with --image-data or --coco."""
    video_model: str = "microsoft/xclip-base-patch32"
    """X-CLIP on the hub, or a folder."""
    medical_model: str = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    """open_clip's name of the trained medical model."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the networks; auto takes bfloat16 where the hardware has it."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", fetch=True),
    "smoke": Settings(preset="smoke", images=40, systems=("clip",), points=40, separability_rows=40),
}


def numbers(panel: panels.Panel, settings: Settings) -> tuple[Mapping, Mapping]:
    """A row of ``modality_gap.csv``, and what the record says of the embeddings."""
    found: Measures = measure(panel.embeddings, panel.modalities, settings.seed, settings.separability_rows)
    row = asdict(found)
    names, spans = row.pop("modalities"), (row.pop("norms_other"), row.pop("norms_text"))
    first = {"system": panel.system, "weights": panel.weights, "source": panel.source}
    order = ["n_pairs", "dim", "gap_distance", "matched_cosine", "mean_cosine_other", "mean_cosine_text"]
    order += ["relative_gap", "separability", "n_other", "n_text", "separability_rows"]
    about = {"system": panel.system, "weights": panel.weights, "kind": panel.kind, **panel.about}
    read = {"normalised_here": True, "row_norms_before": dict(zip(names, spans, strict=True))}
    last = {"other": names[0], "text": names[1], "kind": panel.kind}
    return {**first, **{key: row[key] for key in order}, **last}, {**read, **panel.embeddings.source, **about}


def view(panel: panels.Panel, settings: Settings) -> pd.DataFrame:
    """The rows of ``modality_gap_points.csv``: a random subset of both modalities in three views."""
    arrays = [panel.embeddings.modalities[name] for name in panel.modalities]
    pairs = pairs_of(panel.embeddings, panel.modalities)
    *chosen, paired = sample(tuple(map(len, arrays)), pairs, settings.points, settings.seed)
    parts = [np.asarray(unit_rows(array[rows]), np.float64) for array, rows in zip(arrays, chosen, strict=True)]
    together, k = np.concatenate(parts), len(chosen[0])
    views = {
        "umap": umap_coordinates(together, settings.seed, settings.neighbours, settings.min_dist),
        "pca": joint_pca(parts, components=2).coordinates(together),
        "svd": svd_coordinates(together),
    }
    about = {"system": panel.system, "weights": panel.weights, "source": panel.source}
    about |= {"modality": np.repeat(panel.modalities, k), "pair": np.tile(np.arange(k), 2) if paired else np.nan}
    last = {"row": np.concatenate(chosen), "kind": panel.kind}
    return pd.concat(
        pd.DataFrame({**about, "method": method, "x": at[:, 0], "y": at[:, 1], **last}) for method, at in views.items()
    )


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """The paper's claim beside each panel's separability."""
    rows = []
    for row in table.itertuples():
        letter = LETTERS.get(row.weights)
        if letter is not None:
            on = f"{row.system}, {row.weights} weights, {row.source}"
            quantity = f"separability of {row.other} and {row.text}"
            note = f"gap distance {row.gap_distance:.3f}, {row.n_pairs} pairs; apart from {APART} on"
            claim = "in separate regions"
            agrees = bool(row.separability >= APART)
            rows.append(records.Comparison(f"Figure 1 ({letter})", quantity, claim, row.separability, on, agrees, note))
    return rows


def columns(table: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    """(kind, whether published) of each column of the figure, in blocks of one row of columns."""
    keys = list(dict.fromkeys(zip(table["source"] != panels.PUBLISHED, table["kind"], strict=True)))
    order = [*panels.KINDS.values(), *table["kind"]]
    keys = [(kind, not live) for live, kind in sorted(keys, key=lambda key: (key[0], order.index(key[1])))]
    across = -(-len(keys) // -(-len(keys) // ACROSS))
    return [keys[start : start + across] for start in range(0, len(keys), across)]


def draw(record: records.Record) -> plt.Figure:
    """A grid of systems (across) and weights (down), as Figure 1 (b) and (c) of the paper."""
    table, points = record.tables[""], record.tables["points"]
    shown = points[points["method"] == record.about["settings"]["method"]]
    blocks = columns(table)
    weights = [w for w in ("trained", "random", "given") if (table["weights"] == w).any()]
    across, rows = max(map(len, blocks)), len(weights) * len(blocks)
    size = (max(2.1 * across, 3.2), 2.85 * rows + 0.6)
    figure, axes = plt.subplots(rows, across, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for k, block in enumerate(blocks):
        for i, kind in enumerate(weights):
            for ax, key in zip(axes[k * len(weights) + i], block, strict=False):
                facts, part = (of_panel(some, *key, kind) for some in (table, shown))
                if len(facts):
                    draw_panel(ax, facts.iloc[0], part, LETTERS.get(kind, ""))
                else:
                    reason = f"{key[0]}, {kind} weights:\nleft out, see the record"
                    ax.text(0.5, 0.5, figures.plain(reason), ha="center", va="center", color=figures.MUTED, fontsize=7)
                    ax.set(xlim=(0, 1), ylim=(0, 1))
    label(figure, record)
    return figure


def of_panel(table: pd.DataFrame, kind: str, is_published: bool, weights: str) -> pd.DataFrame:
    """The rows of one panel."""
    source = (table["source"] == panels.PUBLISHED) == is_published
    return table[(table["kind"] == kind) & source & (table["weights"] == weights)]


def draw_panel(ax: plt.Axes, facts: pd.Series, points: pd.DataFrame, letter: str = "") -> None:
    """Both modalities in one view, a line for each pair, the numbers above."""
    other, text = (points[points["modality"] == facts[key]] for key in ("other", "text"))
    if not other["pair"].isna().any():
        ends = np.stack([part[["x", "y"]].to_numpy() for part in (other, text)], axis=1)
        alpha = 0.12 if len(ends) > 200 else 0.3
        ax.add_collection(LineCollection(ends, colors=figures.INK, linewidths=0.25, alpha=alpha, zorder=1))
    for part, colour in ((other, figures.OTHER), (text, figures.TEXT)):
        ax.scatter(part["x"], part["y"], s=5 if len(part) > 100 else 9, color=colour, linewidths=0, alpha=0.8, zorder=2)
    ax.margins(0.05)
    weights = {"given": ""}.get(facts["weights"], f", {facts['weights']} weights")
    lines = [*wrap(facts["system"] + weights, ACROSS_WORDS), *wrap(facts["source"], ACROSS_WORDS)]
    letter = f"$\\bf{{({letter})}}$ " if letter else ""
    lines += numbers_in_words(facts, len(other))
    ax.set_title(letter + figures.plain("\n".join(lines)), fontsize=6, loc="left", linespacing=1.3)


def numbers_in_words(facts: pd.Series, shown: int) -> list[str]:
    """The panel's numbers in short lines, with how many rows the picture and the separability are of."""
    both = (facts["n_other"], facts["n_text"])
    n = f"{facts['n_pairs']:,} pairs" if facts["n_pairs"] else f"{both[0]:,} and {both[1]:,}, not paired"
    few, of = shown < max(*both, facts["n_pairs"]), facts["separability_rows"]
    relative = "" if pd.isna(facts["relative_gap"]) else f"RMG {facts['relative_gap']:.3f}, "
    matched = "" if pd.isna(facts["matched_cosine"]) else f", matched cosine {facts['matched_cosine']:.3f}"
    within = f"{facts['other']} {facts['mean_cosine_other']:.3f}, {facts['text']} {facts['mean_cosine_text']:.3f}"
    sampled = f" ({of:,} of each)" if of < min(both) else ""
    return [
        n + (f", {shown:,} of each shown" if few else ""),
        f"gap {facts['gap_distance']:.3f}{matched}",
        f"cosine within {within}",
        f"{relative}separable {facts['separability']:.1%}{sampled}",
    ]


def label(figure: plt.Figure, record: records.Record) -> None:
    """The two colours, and on the face of the figure what it is not."""
    table = record.tables[""]
    names = [", ".join(dict.fromkeys(table[column])) for column in ("other", "text")]
    handles = [
        plt.Line2D([], [], marker="o", ls="", ms=4, color=colour, label=figures.plain(name))
        for name, colour in zip(names, (figures.OTHER, figures.TEXT), strict=True)
    ]
    handles.append(plt.Line2D([], [], color=figures.INK, lw=0.6, alpha=0.6, label="a pair"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    if any(part.get("generated") for part in record.about["data"]):
        note = (
            f"{record.about['settings']['preset']} preset: inputs are generated where it says so, with a small trained "
        )
        note += "model or random weights; that shows the phenomenon, not the paper's numbers"
        lines = wrap(note, int(19 * figure.get_figwidth()))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color=figures.MUTED)


def check(settings: Settings) -> None:
    """
    Raises:
        UserError: an option that makes no sense.
    """
    for name in ("images", "videos", "radiographs", "sequences", "points", "separability_rows", "neighbours"):
        if getattr(settings, name) is not None:
            as_count(getattr(settings, name), f"--{name.replace('_', '-')}", least=2)
    if not 0 <= settings.min_dist <= 1:
        raise UserError(f"--min-dist must be from 0 to 1, not {settings.min_dist}")


def main(settings: Settings) -> None:
    """Embeds or reads, measures, records, draws."""
    start, device = time.perf_counter(), cli.resolve_device(settings.device)
    check(settings)
    rows, views, data, left_out = [], [], [], []
    for panel in tqdm(panels.collect(settings, left_out), desc=NAME, unit="panel", leave=False, delay=1):
        try:
            row, about = numbers(panel, settings)
            views.append(view(panel, settings))
        except UserError as error:
            where = panel.embeddings.source.get("path", f"{panel.system}, {panel.weights} weights")
            raise error if str(error).startswith(str(where)) else UserError(f"{where}: {error}") from error
        rows.append(row), data.append(about)
    for line in left_out:
        cli.say(f"[{NAME}] left out: {line}")
    if not rows:
        raise UserError("there is nothing to draw; `make published` fetches embeddings, --embeddings takes your own")
    table = pd.DataFrame(rows).astype({"matched_cosine": float, "relative_gap": float})  # None where unpaired
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            {"": table, "points": pd.concat(views)},
            settings=settings,
            seconds=time.perf_counter() - start,
            device=device,
            dtype="embeddings as stored (see data), float64 sums",
            data=data,
            comparisons=compare(table),
            left_out=left_out,
            title="Figure 1: the modality gap across four pairs of modalities",
            captions=CAPTIONS,
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
    for row in table.itertuples():
        gap = f"gap {row.gap_distance:.3f}, separable {row.separability:.3f}"
        weights = "" if row.weights == "given" else f", {row.weights} weights"
        cli.say(f"[{NAME}] {row.system}{weights}, {row.source}: {row.n_pairs} pairs, {gap}")
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
