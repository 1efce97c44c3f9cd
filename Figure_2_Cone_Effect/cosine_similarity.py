"""Figure 2 (a): the cone effect - the cosine between any two embeddings of one encoder is far above zero.

The distribution of the cosine over all pairs of embeddings for ResNet-18 and the two towers of CLIP ViT-B/32, in the
paper's three rows: trained weights on real data, random weights on real data, random weights on noise. Random weights
are drawn for several seeds; the figure shows the spread and the record a prediction interval for one further seed.

    python Figure_2_Cone_Effect/cosine_similarity.py                        (embedded: about a minute on 2 cores, once)
    python Figure_2_Cone_Effect/cosine_similarity.py --coco DIR --captions 5000
    python Figure_2_Cone_Effect/cosine_similarity.py --models open_clip:RN50 huggingface:google/siglip-base-patch16-224
    python Figure_2_Cone_Effect/cosine_similarity.py --preset paper         (downloads weights and MSCOCO val2017)

Expect random weights on noise at mean cosines near 0.999 (ResNet-18), 0.93 (vision) and 0.33-0.49 (text); the paper,
one seed: 0.9993, 0.937, 0.411.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from util import Embeddings, UserError, cli, figures, files, published, records
from util.geometry import cosine_statistics
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

NAME = "cosine_similarity"
RESNET, VISION, TEXT = "ResNet-18", "CLIP ViT-B/32 vision", "CLIP ViT-B/32 text"
PUBLISHED = {RESNET: "resnet", VISION: "vision_transformer", TEXT: "text_transformer"}
COLUMNS = {RESNET: "ResNet-18", VISION: "Vision Transformer", TEXT: "Text Transformer"}
SMALL_CLIP = "small CLIP"
TRAINED_REAL, RANDOM_REAL, RANDOM_NOISE, OWN = "pretrained_real", "random_real", "random_noise", "own"
ROWS = {
    TRAINED_REAL: "trained weights, real data",
    RANDOM_REAL: "random weights, real data",
    RANDOM_NOISE: "random weights, noise",
    OWN: "your own embeddings",
}
PAPER_WEIGHTS = ("openai", "IMAGENET1K_V1")
ENOUGH = 2500
"""Inputs from which a mean on real data is judged by the published one: few are one sample, shared by all seeds."""
NEAR = 0.01
"""How far a mean of the same weights on the same data may lie from the published one."""
BINS = 30
CAPTIONS = {
    NAME: "The cosine over all pairs of different embeddings. Columns: encoders; rows as in the paper: trained weights "
    "on real data, random weights on real data, random weights on noise. Thin lines: one random initialization each; "
    "filled: their mean. Solid line: mean cosine over seeds; dashed: the published mean (one seed, 5000 inputs). Each "
    "panel is scaled to its data; the bar above it shows where that lies between 0 and 1.",
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_2_Cone_Effect"
    seeds: int = 10
    """Random initializations of each encoder: seed, seed + 1, ..."""
    images: int = 8
    """Real pictures for each seed."""
    captions: int = 16
    """Real captions for each seed."""
    noise: tuple[int, int] = (8, 16)
    """Noise inputs for each seed: pictures, token sequences."""
    scenes: int = 2000
    """Generated scenes, with captions, for the small CLIP."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/ or train2017/) for the real pictures and captions."""
    model: str = "ViT-B-32-quickgelu"
    """open_clip model of the vision and text columns; CLIP as released has QuickGELU."""
    pretrained: str = "openai"
    """Its pretrained tag (paper preset)."""
    pixels: Literal["own", "imagenet"] = "own"
    """Pixel statistics for CLIP with random weights: its own, or ImageNet's as the released notebooks have it."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the transformers; auto takes bfloat16 where the hardware has it. ResNet-18 is always float32."""
    models: tuple[str, ...] = ()
    """Further encoders, a column each: open_clip:MODEL[:TAG], huggingface:NAME, torchvision:resnet50[:WEIGHTS],
    python:FILE.py:FUNCTION."""
    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npy, .npz or .safetensors in place of the preset's encoders; repeatable."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", images=5000, captions=5000, noise=(5000, 5000), scenes=0),
    "smoke": Settings(preset="smoke", seeds=2, images=2, captions=3, noise=(2, 3), scenes=50),
}


@dataclass(frozen=True)
class Part:
    """Rows that one histogram is made of.

    Attributes:
        encoder: the column that it stands in.
        weights: "random", or which trained ones.
        input: what was embedded.
        row: the figure's row: trained on real data, random on real data, random on noise.
        seed: of random weights.
        rows: unit rows (n, d).
    """

    encoder: str
    weights: str
    input: str
    row: str
    seed: int | None
    rows: np.ndarray = field(repr=False)


@dataclass
class Inventory:
    """What a run works on, and what it had to leave out: filled by ``collect`` while its parts are taken."""

    data: list[dict] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    encoders: dict[str, dict] = field(default_factory=dict)

    def leave_out(self, line: str) -> None:
        """Names what is missing, at once and for the record."""
        cli.say(f"[{NAME}] left out: {line}")
        self.left_out.append(line)


def collect(settings: Settings, device: str, inventory: Inventory) -> Iterator[Part]:
    """Every part of the figure, encoder by encoder: those asked for first, so that a wrong name costs no time."""
    if settings.embeddings:
        yield from own_embeddings(settings.embeddings, inventory)
        return
    from util.corpora import inputs
    from util.encoders.named import Named

    further = list(dict.fromkeys(map(Named.parse, settings.models)))
    clip = Named("open_clip", settings.model, settings.pretrained, settings.pixels)
    resnet = Named("torchvision", "resnet18")
    real = real_inputs(settings, inventory)
    noise = [inputs.noise(m, n, settings.seed) for m, n in zip(("image", "text"), settings.noise, strict=True)]
    on = {"settings": settings, "device": device, "inventory": inventory}
    for named in further:
        if named.tag or named.kind not in ("open_clip", "torchvision"):
            yield from trained(named, real, **on)
    if settings.preset == "paper":
        for named in (resnet, clip):
            yield from trained(named, real, optional=True, **on)
    else:
        scenes = inputs.scenes(settings.scenes, settings.seed)
        yield from trained(Named("small_clip", SMALL_CLIP), scenes, **on)
        inventory.data += [each.describe() for each in scenes]
        if not any(named.kind == "torchvision" and named.name == "resnet18" and named.tag for named in further):
            inventory.leave_out(f"{RESNET} with trained weights: a download; it comes with --preset paper")
    random = {(named.kind, named.name): named for named in (*further, clip, resnet) if named.kind != "python"}
    for named in reversed(random.values()):
        yield from untrained(named, [*real, *noise], **on)
    inventory.data += [each.describe() for each in (*real, *noise)]


def own_embeddings(paths: Sequence[Path], inventory: Inventory) -> Iterator[Part]:
    """Every modality of every file."""
    for path in paths:
        loaded = Embeddings.load(path)
        name = path.stem if len({p.stem for p in paths}) == len(paths) else str(path)
        inventory.data.append({"name": name, **loaded.source, "path": path.name, "sha256": files.sha256(path)})
        for modality, rows in loaded.modalities.items():
            yield Part(f"{name} {modality}", "your own", path.name, OWN, None, rows)


def real_inputs(settings: Settings, inventory: Inventory) -> Sequence:
    """Real pictures and captions; none where the paper's cannot be had, and the inventory says so."""
    from util.corpora import inputs

    download = settings.preset == "paper"
    try:
        real = inputs.real(settings.coco, settings.images, settings.captions, settings.seed, download)
    except UserError as error:
        if settings.coco is not None or not download:
            raise
        inventory.leave_out(f"real data: {error}")
        return ()
    if len(real) == 1:
        inventory.leave_out(f"photographs: {settings.coco} has none in val2017/ or train2017/")
    return real


def trained(named, inputs: Sequence, *, settings: Settings, device: str, inventory: Inventory, optional: bool = False):
    """Parts with trained weights on real inputs; where optional ones cannot be had, the inventory says so."""
    from seeded_embeddings import embed

    tag = named.tag or {"torchvision": "IMAGENET1K_V1", "small_clip": SMALL_CLIP}.get(named.kind, "trained")
    tag = "your own" if named.kind == "python" else Path(tag).name
    try:
        for each in embed(named, inputs, [None], device, settings.precision):
            again = inventory.encoders.setdefault(f"{each.encoder}, trained", {**each.settings, "tag": tag})
            encoder = each.encoder if again["tag"] == tag else f"{each.encoder} ({tag})"
            inventory.encoders[f"{encoder}, trained"] = {**each.settings, "tag": tag}
            yield Part(encoder, tag, each.inputs.name, TRAINED_REAL, None, each.rows)
    except UserError as error:
        if not optional:
            raise
        inventory.leave_out(f"{named.name} with trained weights: {error}")


def untrained(named, inputs: Sequence, *, settings: Settings, device: str, inventory: Inventory) -> Iterator[Part]:
    """Parts with random weights of every seed, on real inputs and on noise."""
    from seeded_embeddings import embed
    from util.corpora.inputs import NOISE

    seeds = range(settings.seed, settings.seed + settings.seeds)
    for each in embed(named, inputs, seeds, device, settings.precision):
        row = RANDOM_NOISE if each.inputs.name == NOISE else RANDOM_REAL
        inventory.encoders.setdefault(f"{each.encoder}, random", each.settings)
        yield Part(each.encoder, "random", each.inputs.name, row, each.seed, each.rows)


def measure(parts: Sequence[Part]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``cosine_similarity.csv`` and, on common edges for each panel, of its histograms."""
    table, histograms = [], []
    for (encoder, weights, name, row), group in by_panel(parts).items():
        each = [cosine_statistics(part.rows, bins=1) for part in group]
        edges = np.linspace(min(s.min for s in each) - 1e-9, max(s.max for s in each) + 1e-9, BINS + 1)
        for part, statistics in zip(group, each, strict=True):
            about = {"encoder": encoder, "weights": weights, "input": name, "seed": part.seed, "n": len(part.rows)}
            numbers = {q: getattr(statistics, q) for q in ("mean", "std", "min", "q25", "median", "q75", "max")}
            table.append({**about, **numbers, "row": row})
            counts = cosine_statistics(part.rows, bins=edges).histogram
            density = counts / counts.sum() / np.diff(edges)
            histograms.append(
                pd.DataFrame({**about, "row": row, "left": edges[:-1], "right": edges[1:], "density": density})
            )
    return pd.DataFrame(table).astype({"seed": "Int64"}), pd.concat(histograms).astype({"seed": "Int64"})


def by_panel(parts: Sequence[Part]) -> dict[tuple, list[Part]]:
    """Parts that share a panel, in the order of the figure's rows, the paper's encoders first."""
    groups: dict[tuple, list[Part]] = {}
    rows, papers = list(ROWS), {name: k for k, name in enumerate(COLUMNS)}
    for part in sorted(parts, key=lambda part: (rows.index(part.row), papers.get(part.encoder, len(papers)))):
        groups.setdefault((part.encoder, part.weights, part.input, part.row), []).append(part)
    return groups


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """The published means beside ours, judged by the interval for one further seed."""
    paper, rows = published.values()["figure_2a_mean_cosine"], []
    for (row, encoder, name), part in table[table["encoder"].isin(PUBLISHED)].groupby(
        ["row", "encoder", "input"], sort=False
    ):
        means, theirs = part["mean"].to_numpy(), paper[row][PUBLISHED[encoder]]
        same_data = row == RANDOM_NOISE or (name.startswith("MSCOCO val2017") and part["n"].min() >= ENOUGH)
        same_weights = row != TRAINED_REAL or part["weights"].isin(PAPER_WEIGHTS).all()
        if not (same_data and same_weights):
            agrees, note = None, "other data, or fewer, or other weights"
        elif row == TRAINED_REAL:
            agrees, note = bool(abs(means.mean() - theirs) < NEAR), f"difference {means.mean() - theirs:+.4f}"
        else:
            agrees, note = judged(means, theirs)
        quantity, on = f"mean cosine, {encoder}, {ROWS[row]}", f"{name}, n = {part['n'].iloc[0]}"
        rows.append(records.Comparison("Figure 2 (a)", quantity, theirs, means.mean(), on, agrees, note))
    return rows


def judged(means: np.ndarray, theirs: float) -> tuple[bool | None, str]:
    """Whether a published value of one seed lies where a further seed of ours would."""
    if len(means) < 2:
        return None, "one seed: no interval"
    low, high = prediction_interval(means)
    return bool(low <= theirs <= high), f"95% interval for one further seed {low:.4f} to {high:.4f}, {len(means)} seeds"


def draw(record: records.Record) -> plt.Figure:
    """The paper's grid: a column for each encoder, a row for each kind of weights and input."""
    table, histograms = record.tables[""], record.tables["histograms"]
    columns, rows = layout(table)
    size = (min(3.2 * len(columns), 16), 2.0 * len(rows) + 0.7)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    heading = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
    for (i, row), (k, (title, encoders)) in product(enumerate(rows), enumerate(columns.items())):
        ax, here = axes[i, k], f"row == {row!r} and encoder in {encoders!r}"
        part = table.query(here)
        if len(part):
            draw_panel(ax, part, histograms.query(here))
        else:
            ax.set_axis_off()
            reason = "trained weights are a download\n(--preset paper)" if row == TRAINED_REAL else "see the record"
            ax.text(0.5, 0.5, f"left out: {reason}", ha="center", va="center", color=figures.MUTED, fontsize=7.5)
        if i == 0:
            ax.annotate(figures.plain(title), (0.5, 1.5), fontsize=9.5, weight="bold", **heading)
        if k == 0:
            ax.annotate(ROWS[row], (-0.07, 0.5), fontsize=8.5, rotation=90, **heading)
    for ax in axes[-1]:
        ax.set_xlabel("cosine of two embeddings")
    note = None
    if any(encoder.startswith(SMALL_CLIP) for encoder in table["encoder"]):
        note = f"First row: {SMALL_CLIP}; {figures.EMBEDDED_NOTE}.\n"
        note += "Other rows: the paper's architectures at full size, random weights, on few inputs."
    about = {"loc": "outside lower center", "ncols": 4, "title_fontsize": 7, "alignment": "left"}
    figure.legend(handles=legend(), title=note, **about)
    return figure


def legend() -> list:
    """What the lines of every panel mean."""
    return [
        Line2D([], [], color=figures.INK, lw=1.2, label="mean over all pairs (and seeds)"),
        Line2D([], [], color=figures.INK, lw=1, ls="--", label="published mean"),
        Patch(color=figures.INK, alpha=0.1, lw=0, label="range of the seeds' means"),
        Line2D([], [], color=figures.MUTED, lw=0.5, label="one seed"),
    ]


def layout(table: pd.DataFrame) -> tuple[dict[str, list[str]], list[str]]:
    """Columns (title -> encoders) and rows; the small CLIP's towers stand in the paper's columns."""
    present = list(dict.fromkeys(table["encoder"]))
    columns = {title: [name] for name, title in COLUMNS.items()}
    trained = set(table.loc[table["row"] == TRAINED_REAL, "encoder"])
    for name, title in COLUMNS.items():
        if name not in trained:
            columns[title].append(name.replace("CLIP ViT-B/32", SMALL_CLIP))
    taken = {name for names in columns.values() for name in names}
    columns = columns if taken & set(present) else {}
    return columns | {name: [name] for name in present if name not in taken}, [
        r for r in ROWS if r in set(table["row"])
    ]


def draw_panel(ax: plt.Axes, table: pd.DataFrame, histograms: pd.DataFrame) -> None:
    """Histograms of every seed, their mean, our mean cosine and the published one."""
    encoder, row, means = table["encoder"].iloc[0], table["row"].iloc[0], table["mean"].to_numpy()
    vision = figures.SERIES[1] if "esnet" in encoder.lower() else figures.OTHER
    colour = figures.TEXT if encoder.lower().endswith("text") else vision
    bins = histograms.groupby(["left", "right"], sort=True)["density"].mean().reset_index()
    edges = np.append(bins["left"], bins["right"].iloc[-1])
    ax.stairs(bins["density"], edges, color=colour, fill=True, alpha=0.3)
    if len(means) > 1:
        for _, part in histograms.groupby("seed"):
            ax.stairs(part["density"], edges, color=colour, lw=0.5, alpha=0.4)
        ax.axvspan(means.min(), means.max(), color=figures.INK, alpha=0.1, lw=0)
    ax.axvline(means.mean(), color=figures.INK, lw=1.2)
    who = f"{encoder}, " if encoder.startswith(SMALL_CLIP) else ""
    digits = 3 if means.min() < 0.99 else 5
    seeds = f" ({means.min():.{digits}f} to {means.max():.{digits}f}, {len(means)} seeds)" if len(means) > 1 else ""
    lines = [f"{who}{figures.plain(table['input'].iloc[0])}, n = {table['n'].iloc[0]}"]
    lines.append(f"mean {means.mean():.{digits}f}{seeds}")
    paper = encoder.replace(SMALL_CLIP, "CLIP ViT-B/32")
    if paper in PUBLISHED:
        theirs = published.values()["figure_2a_mean_cosine"][row][PUBLISHED[paper]]
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


def main(settings: Settings) -> None:
    """Embeds, measures, records, draws."""
    start, device = time.perf_counter(), cli.resolve_device(settings.device)
    as_count(settings.seeds, "--seeds")
    if settings.embeddings and (settings.models or settings.coco):
        raise UserError("--embeddings measures your files alone; leave --models and --coco out, or run twice")
    inventory = Inventory()
    parts = list(collect(settings, device, inventory))
    if not parts:
        raise UserError(f"nothing to measure: {'; '.join(inventory.left_out)}")
    table, histograms = measure(parts)
    dtypes = " and ".join(sorted({about.get("dtype", "float32") for about in inventory.encoders.values()})) or "no"
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            {"": table, "histograms": histograms},
            settings=settings,
            seconds=time.perf_counter() - start,
            device=device,
            dtype=f"{dtypes} networks, float32 embeddings, float64 means",
            data=inventory.data,
            comparisons=compare(table),
            left_out=inventory.left_out,
            results={"encoders": inventory.encoders},
            title="Figure 2 (a): the cosine between any two embeddings of one encoder",
            captions=CAPTIONS,
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
    for (encoder, weights, name), part in table.groupby(["encoder", "weights", "input"], sort=False):
        low, high, seeds = part["mean"].min(), part["mean"].max(), len(part)
        spread = f" ({low:.4f} to {high:.4f} over {seeds} seeds)" if seeds > 1 else ""
        cli.say(f"[{NAME}] {encoder}, {weights}, {name}: mean cosine {part['mean'].mean():.4f}{spread}")
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
