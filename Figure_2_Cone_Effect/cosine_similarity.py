"""Figure 2 (a): the cone effect - the cosine between any two embeddings of one encoder is far above zero.

The distribution of the cosine over all pairs of embeddings for ResNet-18 and the two towers of CLIP ViT-B/32, in the
paper's three rows: trained weights on real data, random weights on real data, random weights on noise. Random weights
are drawn for several seeds. The figure shows their spread, the record a prediction interval for one further seed.

    python Figure_2_Cone_Effect/cosine_similarity.py
    python Figure_2_Cone_Effect/cosine_similarity.py --coco DIR --every-caption --inputs 512
    python Figure_2_Cone_Effect/cosine_similarity.py --models open_clip:RN50 huggingface:google/siglip-base-patch16-224
    python Figure_2_Cone_Effect/cosine_similarity.py --preset paper         (downloads weights and MSCOCO val2017)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

import tower_inputs as inputs
from cosine_claims import STATISTICS, caps, compare
from cosine_figure import OWN_WEIGHTS, SMALL_CLIP, Row, draw, titles
from encoder_options import PAPER_SIZES, RESNET, RESNET_18, SMOKE_SIZES, EncoderOptions, Gathered
from util import Embeddings, UserError, cli, published, records
from util.embeddings import load_sets
from util.encoders.named import KINDS, ModelName, Named
from util.geometry import cosine_statistics
from util.numerics.arrays import as_count

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


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    return cli.publish_run(NAME, settings, measure, {"": draw}, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
