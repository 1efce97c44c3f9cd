"""Figure 2 (a): the cone effect - the cosine between any two embeddings of one encoder is far above zero.

The distribution of the cosine over all pairs of embeddings for ResNet-18 and the two towers of CLIP ViT-B/32, in the
paper's three rows: trained weights on real data, random weights on real data, random weights on noise. Random weights
are drawn for several seeds. The figure shows their spread, the record a prediction interval for one further seed.

    python Figure_2_Cone_Effect/cosine_similarity.py                        (embedded: about a minute on 2 cores, once)
    python Figure_2_Cone_Effect/cosine_similarity.py --coco DIR --captions 5000
    python Figure_2_Cone_Effect/cosine_similarity.py --models open_clip:RN50 huggingface:google/siglip-base-patch16-224
    python Figure_2_Cone_Effect/cosine_similarity.py --preset paper         (downloads weights and MSCOCO val2017)

Expect random weights on noise at mean cosines near 0.999 (ResNet-18), 0.93 (vision) and 0.33-0.49 (text); the paper,
one seed: 0.9993, 0.937, 0.411.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from encoder_options import ENOUGH, PAPER_SIZES, RESNET, SMOKE_SIZES, TEXT, VISION, EncoderOptions, Gathered
from util import Embeddings, UserError, cli, figures, files, published, records
from util.corpora import inputs
from util.encoders.named import Named
from util.geometry import cosine_statistics
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

NAME = "cosine_similarity"
TITLES = ("ResNet-18", "Vision Transformer", "Text Transformer")
PUBLISHED = {RESNET: "resnet", VISION: "vision_transformer", TEXT: "text_transformer"}
KEY = "figure_2a_mean_cosine"
SMALL_CLIP = "small CLIP"
TRAINED_REAL, RANDOM_REAL, RANDOM_NOISE, OWN = "pretrained_real", "random_real", "random_noise", "own"
ROWS = (TRAINED_REAL, RANDOM_REAL, RANDOM_NOISE, OWN)
OWN_WEIGHTS = "your own"
KINDS = {inputs.NOISE: "noise", "scenes": "generated scenes", "captions of scenes": "generated scenes"}
"""Inputs that are not real data."""
PAPER_WEIGHTS = ("openai", "IMAGENET1K_V1")
NEAR = {"mean": 0.01, "std": 0.005}
"""How far a number of the same weights on the same data may lie from the published one."""
BINS = 30
CAPTIONS = {
    NAME: "The cosine over all pairs of different embeddings. Columns: encoders; rows as in the paper: trained weights "
    "on real data, random weights on real data, random weights on noise. Where a row holds other data it says so. Thin "
    "lines: one random initialization each; filled: their mean. Solid line: mean cosine over seeds; dashed: the "
    "published mean (one seed, 5000 inputs). Each panel is scaled to its data; the bar above it shows where that lies "
    "between 0 and 1.",
}


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderOptions):
    scenes: int = 2000
    """Generated scenes, with captions, for the small CLIP."""
    pretrained: str = "openai"
    """Pretrained tag of the model (paper preset)."""
    models: tuple[str, ...] = ()
    """Further encoders, a column each: open_clip:MODEL[:TAG], huggingface:NAME, torchvision:resnet50[:WEIGHTS],
    python:FILE.py:FUNCTION."""
    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npy, .npz or .safetensors in place of the preset's encoders; repeatable."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", scenes=0, **PAPER_SIZES),
    "smoke": Settings(preset="smoke", seeds=2, scenes=50, **SMOKE_SIZES),
}


@dataclass(frozen=True)
class Part:
    """Rows that one histogram is made of.

    Attributes:
        encoder: the column that it stands in.
        weights: "random", or which trained ones.
        input: what was embedded.
        row: one of ``ROWS``.
        seed: of random weights.
        rows: unit rows (n, d).
    """

    encoder: str
    weights: str
    input: str
    row: str
    seed: int | None
    rows: np.ndarray = field(repr=False)


def measure(settings: Settings, device: str) -> cli.Measured:
    """The cosines of every encoder, and the published ones beside them."""
    as_count(settings.seeds, "--seeds")
    if settings.embeddings and (settings.models or settings.coco):
        raise UserError("--embeddings measures your files alone; leave --models and --coco out, or run twice")
    gathered = Gathered(settings, device)
    parts = list(own_embeddings(settings.embeddings) if settings.embeddings else collect(gathered))
    if not parts:
        raise UserError(f"nothing to measure: {'; '.join(gathered.left_out)}")
    table, histograms = tables(parts, settings.model)
    return cli.Measured(
        tables={"": table, "histograms": histograms},
        data=list(map(describe, settings.embeddings)) or gathered.data(),
        dtype=f"{gathered.dtypes()} networks, float32 embeddings, float64 means",
        comparisons=compare(table),
        left_out=gathered.left_out,
        results={"encoders": gathered.encoders},
        said=list(said(table)),
    )


def collect(gathered: Gathered) -> Iterator[Part]:
    """Every part of the figure, encoder by encoder: those asked for first, so that a wrong name costs no time."""
    settings = gathered.settings
    further = list(dict.fromkeys(map(Named.parse, settings.models)))
    resnet, clip, real, noise = Named("torchvision", "resnet18"), gathered.clip(), gathered.real(), gathered.noise()
    for named in further:
        if named.tag or named.kind not in ("open_clip", "torchvision"):
            yield from trained(gathered, named, real)
    if settings.preset == "paper":
        for named in (resnet, Named("open_clip", settings.model, settings.pretrained)):
            try:
                yield from trained(gathered, named, real)
            except UserError as error:
                gathered.left_out.append(f"{named.name} with trained weights: {error}")
    else:
        scenes = inputs.scenes(settings.scenes, settings.seed)
        gathered.inputs += scenes
        yield from trained(gathered, Named("small_clip", SMALL_CLIP), scenes)
        if not any(named.kind == "torchvision" and named.name == "resnet18" and named.tag for named in further):
            gathered.left_out.append(f"{RESNET} with trained weights: a download; it comes with --preset paper")
    random = {(named.kind, named.name): named for named in (*further, resnet, clip) if named.kind != "python"}
    for named in random.values():
        for each in gathered.random(named, [*real, *noise]):
            row = RANDOM_NOISE if each.inputs.name == inputs.NOISE else RANDOM_REAL
            yield Part(each.encoder, "random", each.inputs.name, row, each.seed, each.rows)


def trained(gathered: Gathered, named: Named, what: Sequence[inputs.Inputs]) -> Iterator[Part]:
    """Parts with trained weights."""
    tag = named.tag or {"torchvision": "IMAGENET1K_V1", "small_clip": SMALL_CLIP}.get(named.kind, "trained")
    tag = OWN_WEIGHTS if named.kind == "python" else Path(tag).name
    for encoder, each in gathered.trained(named, what, tag):
        yield Part(encoder, tag, each.inputs.name, TRAINED_REAL, None, each.rows)


def own_embeddings(paths: Sequence[Path]) -> Iterator[Part]:
    """Every modality of every file."""
    for path in paths:
        name = path.stem if len({p.stem for p in paths}) == len(paths) else str(path)
        for modality, rows in Embeddings.load(path).modalities.items():
            yield Part(f"{name} {modality}", OWN_WEIGHTS, path.name, OWN, None, rows)


def describe(path: Path) -> dict:
    """A file of your own, for the record."""
    return {"name": path.stem, **Embeddings.load(path).source, "path": str(path), "sha256": files.sha256(path)}


def tables(parts: Sequence[Part], model: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``cosine_similarity.csv`` and, on common edges for each panel, of its histograms."""
    table, histograms, first = [], [], list(titles(model))
    panels: dict[tuple, list[Part]] = {}
    for part in sorted(parts, key=lambda p: (ROWS.index(p.row), [*first, p.encoder].index(p.encoder))):
        panels.setdefault((part.encoder, part.weights, part.input, part.row), []).append(part)
    for (encoder, weights, name, row), group in panels.items():
        each = [cosine_statistics(part.rows, bins=1) for part in group]
        edges = np.linspace(min(s.min for s in each) - 1e-9, max(s.max for s in each) + 1e-9, BINS + 1)
        for part, statistics in zip(group, each, strict=True):
            about = {"encoder": encoder, "weights": weights, "input": name, "seed": part.seed, "n": len(part.rows)}
            numbers = {q: getattr(statistics, q) for q in ("mean", "std", "min", "q25", "median", "q75", "max")}
            table.append({**about, **numbers, "row": row})
            counts = cosine_statistics(part.rows, bins=edges).histogram
            bins = {"left": edges[:-1], "right": edges[1:], "density": counts / counts.sum() / np.diff(edges)}
            histograms.append(pd.DataFrame({**about, "row": row, **bins}))
    return pd.DataFrame(table).astype({"seed": "Int64"}), pd.concat(histograms).astype({"seed": "Int64"})


def said(table: pd.DataFrame) -> Iterator[str]:
    """Means for the terminal."""
    for (encoder, weights, name), part in table.groupby(["encoder", "weights", "input"], sort=False):
        low, high, seeds = part["mean"].min(), part["mean"].max(), len(part)
        spread = f" ({low:.4f} to {high:.4f} over {seeds} seeds)" if seeds > 1 else ""
        yield f"{encoder}, {weights}, {name}: mean cosine {part['mean'].mean():.4f}{spread}"


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """Published means and standard deviations beside ours, judged by the interval for one further seed."""
    found = []
    ours = table[table["encoder"].isin(PUBLISHED)]
    for (row, encoder, name), part in ours.groupby(["row", "encoder", "input"], sort=False):
        same_data = row == RANDOM_NOISE or (name.startswith("MSCOCO val2017") and part["n"].min() >= ENOUGH)
        same_weights = row != TRAINED_REAL or part["weights"].isin(PAPER_WEIGHTS).all()
        place = list(PUBLISHED).index(encoder)
        for what, key in (("mean", f"{row}.{PUBLISHED[encoder]}"), ("std", f"std.{row}.{place}")):
            theirs, values = published.numbers()[f"{KEY}.{key}"].value, part[what].to_numpy()
            interval = prediction_interval(values) if len(values) > 1 else (None, None)
            agrees, note = None, "one seed: no interval"
            if not (same_data and same_weights):
                note = "other data, or fewer, or other weights"
            elif row == TRAINED_REAL:
                agrees, note = bool(abs(values.mean() - theirs) < NEAR[what]), f"{NEAR[what]:g} apart at most asked for"
            elif len(values) > 1:
                agrees = bool(interval[0] <= theirs <= interval[1])
                note = f"95% interval for one further seed, {len(values)} seeds"
            on = f"{name}, n = {part['n'].iloc[0]}"
            own = same_data and same_weights
            found.append(published.compare(f"{KEY}.{key}", values.mean(), on, agrees, note, *interval, own=own))
    return found


def draw(record: records.Record) -> plt.Figure:
    """The paper's grid: a column for each encoder, a row for each kind of weights and input."""
    table, histograms = record.tables[""], record.tables["histograms"]
    columns, rows = layout(table, record.about["settings"]["model"]), [r for r in ROWS if r in set(table["row"])]
    size = (min(3.2 * len(columns), 16), 2.0 * len(rows) + 0.7)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    heading = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
    for (i, row), (k, (title, encoders)) in product(enumerate(rows), enumerate(columns.items())):
        ax, here = axes[i, k], f"row == {row!r} and encoder in {encoders!r}"
        if len(part := table.query(here)):
            draw_panel(ax, part, histograms.query(here), title)
        else:
            ax.set_axis_off()
            reason = "trained weights are a download\n(--preset paper)" if row == TRAINED_REAL else "see the record"
            ax.text(0.5, 0.5, f"left out: {reason}", ha="center", va="center", color=figures.MUTED, fontsize=7.5)
        if i == 0:
            ax.annotate(figures.plain(title), (0.5, 1.5), fontsize=9.5, weight="bold", **heading)
        if k == 0:
            label = row_label(table[table["row"] == row])
            ax.annotate(label, (-0.1, 0.5), fontsize=8, rotation=90, **heading)
    for ax in axes[-1]:
        ax.set_xlabel("cosine of two embeddings")
    note = None
    if any(encoder.startswith(SMALL_CLIP) for encoder in table["encoder"]):
        note = f"First row: {SMALL_CLIP}; {figures.EMBEDDED_NOTE}.\n"
        note += "Other rows: architectures at full size, random weights, on few inputs."
    about = {"loc": "outside lower center", "ncols": 5, "title_fontsize": 7, "alignment": "left"}
    figure.legend(handles=legend(), title=note, **about)
    return figure


def legend() -> list:
    """Handles for the lines of every panel."""
    return [
        Line2D([], [], color=figures.INK, lw=1.2, label="mean over all pairs (and seeds)"),
        Line2D([], [], color=figures.INK, lw=1, ls="--", label="published mean"),
        Patch(color=figures.INK, alpha=0.1, lw=0, label="range of the seeds' means"),
        Line2D([], [], color=figures.MUTED, lw=0.5, label="one seed"),
        Patch(facecolor=figures.MUTED, label="bar above: the panel's range from 0 to 1"),
    ]


def titles(model: str) -> dict[str, str]:
    """The paper's encoders and the titles of their columns; CLIP's towers are those of the model."""
    clip = Named("open_clip", model)
    return dict(zip((RESNET, clip.label("image"), clip.label("text")), TITLES, strict=True))


def layout(table: pd.DataFrame, model: str) -> dict[str, list[str]]:
    """Columns, title -> encoders: the paper's first; the small CLIP's towers stand in them where they have room."""
    papers, trained_ones = titles(model), set(table.loc[table["row"] == TRAINED_REAL, "encoder"])
    free = {title: name for name, title in papers.items() if name not in trained_ones}
    for tower, title in (("vision", TITLES[1]), ("text", TITLES[2])):
        if title in free:
            papers[f"{SMALL_CLIP} {tower}"] = title
    columns = {title: [] for title in TITLES}
    for name in dict.fromkeys(table["encoder"]):
        columns.setdefault(papers.get(name, name), []).append(name)
    return {title: names for title, names in columns.items() if names}


def row_label(table: pd.DataFrame) -> str:
    """The weights and the inputs that a row holds."""
    row = table["row"].iloc[0]
    if row == OWN:
        return "your own embeddings"
    kinds = {"trained weights" if weights != OWN_WEIGHTS else "your own weights" for weights in table["weights"]}
    weights = " and ".join(sorted(kinds)) if row == TRAINED_REAL else "random weights"
    data = sorted({KINDS.get(name, "real data") for name in table["input"]}, reverse=True)
    return f"{weights},\n{', '.join(data)}"


def draw_panel(ax: plt.Axes, table: pd.DataFrame, histograms: pd.DataFrame, title: str) -> None:
    """Histograms of every seed, their mean, our mean cosine and the published one."""
    encoder, row, means = table["encoder"].iloc[0], table["row"].iloc[0], table["mean"].to_numpy()
    vision = figures.SERIES[1] if "esnet" in encoder.lower() else figures.SERIES[0]
    colour = figures.TEXT if encoder.lower().endswith("text") else vision
    bins = histograms.groupby(["left", "right"], sort=True)["density"].mean().reset_index()
    edges = np.append(bins["left"], bins["right"].iloc[-1])
    ax.stairs(bins["density"], edges, color=colour, fill=True, alpha=0.3)
    if len(means) > 1:
        for _, part in histograms.groupby("seed"):
            ax.stairs(part["density"], edges, color=colour, lw=0.5, alpha=0.4)
        ax.axvspan(means.min(), means.max(), color=figures.INK, alpha=0.1, lw=0)
    ax.axvline(means.mean(), color=figures.INK, lw=1.2)
    who = "" if encoder in (title, *PUBLISHED) else f"{encoder}, "
    digits = 3 if means.min() < 0.99 else 5
    seeds = f" ({means.min():.{digits}f} to {means.max():.{digits}f}, {len(means)} seeds)" if len(means) > 1 else ""
    lines = [figures.plain(f"{who}{table['input'].iloc[0]}, n = {table['n'].iloc[0]}")]
    lines.append(f"mean {means.mean():.{digits}f}{seeds}")
    paper = encoder.replace(SMALL_CLIP, "CLIP ViT-B/32")
    if paper in PUBLISHED:
        theirs = published.numbers()[f"{KEY}.{row}.{PUBLISHED[paper]}"].value
        lines.append(f"published{'' if paper == encoder else f', {paper}'}: {theirs:.{digits}f}")
        if row == RANDOM_NOISE or edges[0] < theirs < edges[-1]:
            ax.axvline(theirs, color=figures.INK, lw=1, ls="--")
    ax.set_title("\n".join(lines), loc="left", fontsize=7, pad=9)
    ax.set(yticks=[], ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.get_major_formatter().set_useOffset(False)
    ax.spines["left"].set_visible(False)
    draw_place(ax, edges[0], edges[-1], colour)


def draw_place(ax: plt.Axes, low: float, high: float, colour: str) -> None:
    """A bar above a panel: where its range lies between 0 and 1."""
    strip = ax.inset_axes((0, 1.02, 1, 0.035))
    strip.barh(0, max(high - low, 0.008), left=min(low, 0.992), color=colour, height=1)
    strip.set(xlim=(min(0, low), 1), ylim=(-0.5, 0.5), xticks=[], yticks=[])
    strip.grid(False)
    for spine in strip.spines.values():
        spine.set(visible=True, color=figures.GRID)


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    title = "Figure 2 (a): the cosine between any two embeddings of one encoder"
    settings = cli.own_output(settings, *settings.embeddings)
    return cli.publish_run(NAME, settings, measure, {"": draw}, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
