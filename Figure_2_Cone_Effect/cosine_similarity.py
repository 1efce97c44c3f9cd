"""Figure 2 (a): the cone effect - the cosine between any two embeddings of one encoder is far above zero.

The distribution of the cosine over all pairs of embeddings for ResNet-18 and the two towers of CLIP ViT-B/32, in the
paper's three rows: trained weights on real data, random weights on real data, random weights on noise. Random weights
are drawn for several seeds. The figure shows their spread, the record a prediction interval for one further seed.

    python Figure_2_Cone_Effect/cosine_similarity.py
    python Figure_2_Cone_Effect/cosine_similarity.py --coco DIR --every-caption --inputs 512
    python Figure_2_Cone_Effect/cosine_similarity.py --models open_clip:RN50 huggingface:google/siglip-base-patch16-224
    python Figure_2_Cone_Effect/cosine_similarity.py --preset paper         (downloads weights and MSCOCO val2017)
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import betainc

import encoder_inputs as inputs
from cosine_figure import OWN_WEIGHTS, PUBLISHED, SMALL_CLIP, Row, draw, titles
from encoder_inputs import PAPER_SIZES, RESNET, RESNET_18, SMOKE_SIZES, EncoderOptions, Gathered, is_papers
from util import Embeddings, UserError, cli, published, records
from util.embeddings import load_sets
from util.encoders.named import KINDS, ModelName, Named
from util.geometry import cosine_statistics
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

STATISTICS = ("mean", "std", "min", "q25", "median", "q75", "max")
PAPER_WEIGHTS = ("openai", "IMAGENET1K_V1")
PAPERS_N = 5000
"""Inputs of every published number. Extremes depend on their number, so they are judged with as many."""
ROUNDING = 1e-6
"""Of a cosine in float32. Where two captions are alike the largest is 1 with every seed, without a spread."""
CLIP = ["CLIP image", "CLIP text"]
POSITIVE = "figure_2a.positive_for_trained"
DIMENSIONS = (2, 3, 512)
HALVED = "half of 55.94"
HALF_ANGLES = {
    HALVED: 55.94 / 2,
    "arccos(0.56)": math.degrees(math.acos(0.56)),
    "arccos(sqrt(0.56))": math.degrees(math.acos(math.sqrt(0.56))),
}
"""Degrees, for ResNet-18's mean cosine of 0.56: the paper's, a pair's, and from a row to the mean direction."""
NAME = "cosine_similarity"
BINS, FINE_BINS = 30, 3000
"""Bins that a panel shows, and those of each seed that they are made of."""


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderOptions, cli.WithEmbeddings):
    inputs: int | None = None
    """As many of each, in place of --images and --captions."""
    scenes: int = 2000
    """Generated scenes, with captions, for the small CLIP."""
    models: tuple[ModelName, ...] = ()
    """Further encoders, a line of panels each: open_clip:MODEL[:TAG], huggingface:NAME, torchvision:resnet50[:WEIGHTS],
    python:MODULE or FILE.py:FUNCTION."""
    ONLY: ClassVar = (
        cli.Only(
            "seed seeds images captions inputs coco every_caption model pixels precision scenes models",
            "runs without --embeddings", lambda chosen: not chosen.embeddings),
        cli.Only("images captions", "runs without --inputs", lambda chosen: chosen.inputs is None),
        cli.Only("scenes", "the presets embedded and smoke", lambda chosen: chosen.preset != "paper"),
    )  # fmt: skip


PRESETS = {
    "embedded": Settings(seeds=5, images=64, captions=64),
    "paper": Settings(preset="paper", scenes=0, model="open_clip:ViT-B-32-quickgelu:openai", **PAPER_SIZES),
    "smoke": Settings(preset="smoke", seeds=2, scenes=50, **SMOKE_SIZES),
}


class Part(NamedTuple):
    """Unit rows (n, d) of one histogram: the first four fields name its panel."""

    encoder: str
    weights: str
    input: str
    row: str
    seed: int | None
    rows: np.ndarray


def measure(settings: Settings, device: str) -> cli.Measured:
    """The cosines of every encoder, and the published ones beside them."""
    as_count(settings.seeds, "--seeds")
    if settings.preset != "paper":
        as_count(settings.scenes, "--scenes", least=2)
    if settings.inputs is not None:
        settings = replace(settings, images=settings.inputs, captions=settings.inputs)
    gathered = Gathered(settings, device)
    own = load_sets(settings.embeddings, cli.named_columns(settings.columns), two=False)
    parts = list(own_embeddings(own) if own else collect(gathered))
    if not parts:
        raise UserError(f"nothing to measure: {'; '.join(gathered.left_out)}")
    table, histograms = tables(parts, settings.model)
    theirs = table[table["row"] == Row.PUBLISHED].drop(columns=["seed", "row"])
    further = {} if settings.embeddings else {"published": theirs, "caps": caps()}
    return cli.Measured(
        tables={"": table, "histograms": histograms, **further},
        data=[{"name": name, **found.source} for name, found in own.items()] or [e.describe() for e in gathered.inputs],
        dtype=f"{gathered.dtypes()} networks, float32 embeddings, float64 means",
        comparisons=compare(table, further["caps"]) if further else (),
        left_out=gathered.left_out,
        results={"encoders": gathered.encoders},
        said=[*(f"note: {note}" for each in own.values() for note in each.source.get("notes", ())), *said(table)],
    )


def collect(gathered: Gathered) -> Iterator[Part]:
    """Every part of the figure, encoder by encoder: those asked for first, so that a wrong name costs no time."""
    settings = gathered.settings
    further = list(dict.fromkeys(map(Named.parse, settings.models)))
    clip, real, noise = gathered.clip(), gathered.real(), gathered.noise()
    for named in [*further, *([clip] if clip.tag and settings.preset != "paper" else [])]:
        if named.tag or KINDS[named.kind].tag == "none":
            yield from trained(gathered, named, real)
    if settings.preset == "paper":
        for named in (RESNET_18, clip):
            try:
                yield from trained(gathered, named, real)
            except UserError as error:
                gathered.left_out.append(f"{named.name} with trained weights: {error}")
    else:
        scenes = inputs.scenes(settings.scenes, settings.seed)
        gathered.inputs += scenes
        yield from trained(gathered, Named("small-clip", SMALL_CLIP), scenes)
        if f"{RESNET}, trained" not in gathered.encoders:
            gathered.left_out.append(f"{RESNET} with trained weights: a download; it comes with --preset paper")
    random = {(named.kind, named.name): named for named in (*further, RESNET_18, clip) if named.kind != "python"}
    for named in random.values():
        for each in gathered.rows(named, [*real, *noise]):
            row = Row.RANDOM_NOISE if each.inputs.name == inputs.NOISE else Row.RANDOM_REAL
            yield Part(each.encoder, "random", each.inputs.name, row, each.seed, each.rows)
            if len(each.inputs.first):
                name = inputs.FIRST.format(each.inputs.about["split"])
                yield Part(each.encoder, "random", name, row, each.seed, each.rows[each.inputs.first])
    yield from published_embeddings(gathered)


def trained(gathered: Gathered, named: Named, what: Sequence[inputs.Inputs]) -> Iterator[Part]:
    """Parts with trained weights."""
    default = {"torchvision": "IMAGENET1K_V1", "small-clip": SMALL_CLIP}.get(named.kind, "trained")
    tag = OWN_WEIGHTS if named.kind == "python" else Path(named.tag or default).name
    for each in gathered.rows(named, what, tag):
        yield Part(each.encoder, tag, each.inputs.name, Row.TRAINED_REAL, None, each.rows)


def published_embeddings(gathered: Gathered) -> Iterator[Part]:
    """Every modality of the authors' own embeddings, trained and random."""
    if not (available := published.available()):
        gathered.left_out.append("published embeddings: none in the cache; `make published` fetches them")
    for system, weights in available:
        found, title = published.load(system, weights), published.SYSTEMS[system]["title"]
        for modality, rows in found.modalities.items():
            yield Part(f"{title} {modality}", weights, found.source["data"], Row.PUBLISHED, None, rows)


def own_embeddings(sets: Mapping[str, Embeddings]) -> Iterator[Part]:
    """Every modality of every set, with the name of its file."""
    for name, found in sets.items():
        for (modality, rows), file in zip(found.modalities.items(), cycle(found.files), strict=False):
            yield Part(f"{name} {modality}", OWN_WEIGHTS, Path(file["path"]).name, Row.OWN, None, rows)


def tables(parts: Sequence[Part], model: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``cosine_similarity.csv`` and, on common edges for each panel, of its histograms."""
    table, histograms, first = [], [], list(titles(model))
    panels: dict[tuple, list[Part]] = {}
    for part in sorted(parts, key=lambda p: (list(Row).index(p.row), [*first, p.encoder].index(p.encoder))):
        panels.setdefault(part[:4], []).append(part)
    for group in panels.values():
        each = [cosine_statistics(part.rows, bins=FINE_BINS) for part in group]
        edges = np.linspace(min(s.min for s in each) - 1e-9, max(s.max for s in each) + 1e-9, BINS + 1)
        for (encoder, weights, name, row, seed, rows), statistics in zip(group, each, strict=True):
            about = {"encoder": encoder, "weights": weights, "input": name, "seed": seed, "n": len(rows)}
            table.append({**about, **{what: getattr(statistics, what) for what in STATISTICS}, "row": row})
            middles = ((statistics.edges[:-1] + statistics.edges[1:]) / 2).clip(edges[0], edges[-1])
            counts = np.histogram(middles, edges, weights=statistics.histogram)[0]
            bins = {"left": edges[:-1], "right": edges[1:], "density": counts / counts.sum() / np.diff(edges)}
            histograms.append(pd.DataFrame({**about, "row": row, **bins}))
    return pd.DataFrame(table).astype({"seed": "Int64"}), pd.concat(histograms).astype({"seed": "Int64"})


def said(table: pd.DataFrame) -> Iterator[str]:
    """Means for the terminal."""
    for names, means in table.groupby(["encoder", "weights", "input"], sort=False)["mean"]:
        seeds = f" ({means.min():.4f} to {means.max():.4f}, {len(means)} seeds)" if len(means) > 1 else ""
        yield f"{', '.join(names)}: mean cosine {means.mean():.4f}{seeds}"


def compare(table: pd.DataFrame, sizes: pd.DataFrame) -> list[records.Comparison]:
    """Every statement of the paper beside rows of ``cosine_similarity.csv`` and of ``caps``."""
    ours = table[table["encoder"].isin(PUBLISHED)]
    found = [each for _, part in ours.groupby(["row", "encoder", "input"], sort=False) for each in statistics(part)]
    trained = {
        SMALL_CLIP: table[table["weights"] == SMALL_CLIP],
        "the paper's encoders": ours[ours["row"] == Row.TRAINED_REAL],
        "published CLIP ViT-B/16": table.query("row == @Row.PUBLISHED and encoder in @CLIP and weights == 'trained'"),
    }
    found += [positive(who, rows) for who, rows in trained.items() if len(rows)]
    return [*found, *cap_sizes(sizes)]


def statistics(part: pd.DataFrame) -> Iterator[records.Comparison]:
    """Published statistics beside ours of one encoder, one kind of weights and one input, a row for each seed."""
    known, (row, encoder), whole = published.numbers(), part[["row", "encoder"]].iloc[0], is_own(part)
    name, seeds, enough = PUBLISHED[encoder], len(part), part["n"].min() >= PAPERS_N
    for what in STATISTICS:
        first = {"mean": f"{row}.{name}", "std": f"std.{row}.{list(PUBLISHED).index(encoder)}"}.get(what)
        keys = f"figure_2a_mean_cosine.{first}", f"figure_2a.{row}.{name}.{what}", f"figure_2a.text.{row}.{name}.{what}"
        extreme, values = what in ("min", "max"), part[what]
        own = whole and (enough or not extreme)
        notes = ["" if own else "an extreme of fewer inputs" if whole else "other data, or fewer, or other weights"]
        notes += [f"negative with {(values < 0).sum()} of {seeds} seeds"] if what == "min" and seeds > 1 else []
        agrees, limits = None, {}
        for key in filter(known.get, keys):
            if seeds > 1:
                low, high = prediction_interval(values)
                limits = {"low": low, "high": high, "interval": f"95% prediction, {seeds} seeds"}
                agrees = bool(low - ROUNDING <= known[key].value <= high + ROUNDING) if own else None
            note = "; ".join(filter(None, notes))
            yield published.compare(key, values.mean(), measured_on(part), agrees, note, own=own, **limits)


def is_own(part: pd.DataFrame) -> bool:
    """Whether rows hold the paper's weights and data, and enough of them."""
    row, name, n = part[["row", "input", "n"]].iloc[0]
    random = row in (Row.RANDOM_REAL, Row.RANDOM_NOISE)
    return bool(random or part["weights"].isin(PAPER_WEIGHTS).all()) and is_papers(name, n)


def measured_on(part: pd.DataFrame) -> str:
    """Data, their number and seeds."""
    seeds = "" if part["seed"].isna().all() else f", {len(part)} seed{'s' * (len(part) > 1)}"
    return f"{part['input'].iloc[0]}, n = {part['n'].iloc[0]}{seeds}"


def positive(who: str, trained: pd.DataFrame) -> records.Comparison:
    """Whether mean and least cosine of trained encoders are positive."""
    threshold = published.numbers()[POSITIVE].judged_by.tolerance
    own = {*PUBLISHED} <= {*trained["encoder"]} and all(is_own(part) for _, part in trained.groupby("encoder"))
    agrees = bool((trained[["mean", "min"]] > threshold).all(axis=None))
    ours = f"least mean {trained['mean'].min():.2f}, least cosine {trained['min'].min():.2f}"
    return published.compare(POSITIVE, ours, f"{who}, {measured_on(trained)}", agrees, own=own)


def cap_fraction(degrees: float, dim: int) -> float:
    """Share of the unit sphere in ``dim`` >= 2 dimensions within ``degrees`` of a point, at most 90, in [0, 1/2].

    Half the regularised incomplete beta function at sin^2 of the half-angle, with (dim - 1)/2 and 1/2. Paper: section
    2.1, which takes half of the angle between two rows for it.
    """
    if not 0 <= degrees <= 90:
        raise UserError(f"the half-angle of a cap must lie from 0 to 90 degrees, not {degrees}")
    return float(betainc((as_count(dim, "dim", least=2) - 1) / 2, 0.5, math.sin(math.radians(degrees)) ** 2)) / 2


def caps() -> pd.DataFrame:
    """The shares of all half-angles: half_angle, degrees, dim, fraction, log10_fraction."""
    rows = [
        {"half_angle": name, "degrees": degrees, "dim": dim, "fraction": cap_fraction(degrees, dim)}
        for name, degrees in HALF_ANGLES.items()
        for dim in DIMENSIONS
    ]
    return pd.DataFrame(rows).assign(log10_fraction=lambda table: np.log10(table["fraction"]))


def cap_sizes(sizes: pd.DataFrame) -> Iterator[records.Comparison]:
    """The shares that the paper prints: mathematics alone decides."""
    shares = sizes[sizes["half_angle"] == HALVED].set_index("dim")
    on = f"{published.PRINTED}: a cap of half-angle {shares['degrees'].iloc[0]:.2f} degrees"
    for dim, derived in {2: "27.97/180", 3: "(1 - cos 27.97)/2, the paper's own formula"}.items():
        percent = 100 * float(shares["fraction"][dim])
        yield published.compare(f"cone_size.fraction_{dim}d_percent", percent, on, note=derived, own=True)
    key, log2 = "cone_size.fraction_512d", float(shares["log10_fraction"][512] / np.log10(2))
    below = log2 < published.numbers()[key].judged_by.tolerance
    derived = f"2^{log2:.1f}: half of the regularised incomplete beta function at sin^2, with 511/2 and 1/2"
    yield published.compare(key, f"{shares['fraction'][512]:.2g}", on, below, derived, own=True)


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    return cli.publish_run(NAME, settings, measure, {"": draw}, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
