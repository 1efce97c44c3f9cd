"""Figure 2 (a): the cone effect - the cosine between any two embeddings of one encoder is far above zero.

The distribution of the cosine over all pairs of embeddings for ResNet-18 and the two towers of CLIP ViT-B/32, in the
paper's three rows: trained weights on real data, random weights on real data, random weights on noise. Random weights
are drawn for several seeds. The figure shows their spread, the record a prediction interval for one further seed.

    python Figure_2_Cone_Effect/cosine_similarity.py
    python Figure_2_Cone_Effect/cosine_similarity.py --coco DIR --captions 5000
    python Figure_2_Cone_Effect/cosine_similarity.py --models open_clip:RN50 huggingface:google/siglip-base-patch16-224
    python Figure_2_Cone_Effect/cosine_similarity.py --preset paper         (downloads weights and MSCOCO val2017)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tyro

import tower_inputs as inputs
from cosine_figure import KEY, OWN_WEIGHTS, PUBLISHED, SMALL_CLIP, Row, draw, titles
from encoder_options import ENOUGH, PAPER_SIZES, RESNET, RESNET_18, SMOKE_SIZES, EncoderOptions, Gathered
from util import Embeddings, UserError, cli, files, published, records
from util.encoders.named import Named
from util.geometry import cosine_statistics
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

NAME = "cosine_similarity"
PAPER_WEIGHTS = ("openai", "IMAGENET1K_V1")
NEAR = {"mean": 0.01, "std": 0.005}
"""How far a number of the same weights on the same data may lie from the published one."""
BINS = 30
CAPTIONS = {
    NAME: "The cosine over all pairs of different embeddings. Columns: encoders; rows as in the paper: trained weights "
    "on real data, random weights on real data, random weights on noise. Where a row holds other data it says so. Thin "
    "lines: one random initialization each; filled: their mean. Solid line: mean cosine over seeds; dashed: the "
    "published mean (one seed, 5000 inputs). Each panel is scaled to its data.",
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
    clip, real, noise = gathered.clip(), gathered.real(), gathered.noise()
    for named in further:
        if named.tag or named.kind not in ("open_clip", "torchvision"):
            yield from trained(gathered, named, real)
    if settings.preset == "paper":
        for named in (RESNET_18, Named("open_clip", settings.model, settings.pretrained)):
            try:
                yield from trained(gathered, named, real)
            except UserError as error:
                gathered.left_out.append(f"{named.name} with trained weights: {error}")
    else:
        scenes = inputs.scenes(settings.scenes, settings.seed)
        gathered.inputs += scenes
        yield from trained(gathered, Named("small_clip", SMALL_CLIP), scenes)
        if f"{RESNET}, trained" not in gathered.encoders:
            gathered.left_out.append(f"{RESNET} with trained weights: a download; it comes with --preset paper")
    random = {(named.kind, named.name): named for named in (*further, RESNET_18, clip) if named.kind != "python"}
    for named in random.values():
        for each in gathered.rows(named, [*real, *noise]):
            row = Row.RANDOM_NOISE if each.inputs.name == inputs.NOISE else Row.RANDOM_REAL
            yield Part(each.encoder, "random", each.inputs.name, row, each.seed, each.rows)


def trained(gathered: Gathered, named: Named, what: Sequence[inputs.Inputs]) -> Iterator[Part]:
    """Parts with trained weights."""
    default = {"torchvision": "IMAGENET1K_V1", "small_clip": SMALL_CLIP}.get(named.kind, "trained")
    tag = OWN_WEIGHTS if named.kind == "python" else Path(named.tag or default).name
    for each in gathered.rows(named, what, tag):
        yield Part(each.encoder, tag, each.inputs.name, Row.TRAINED_REAL, None, each.rows)


def own_embeddings(paths: Sequence[Path]) -> Iterator[Part]:
    """Every modality of every file."""
    for path in paths:
        name = path.stem if len({p.stem for p in paths}) == len(paths) else str(path)
        for modality, rows in Embeddings.load(path).modalities.items():
            yield Part(f"{name} {modality}", OWN_WEIGHTS, path.name, Row.OWN, None, rows)


def describe(path: Path) -> dict:
    """A file of your own, for the record."""
    return {"name": path.stem, **Embeddings.load(path).source, "path": str(path), "sha256": files.sha256(path)}


def tables(parts: Sequence[Part], model: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``cosine_similarity.csv`` and, on common edges for each panel, of its histograms."""
    table, histograms, first = [], [], list(titles(model))
    panels: dict[tuple, list[Part]] = {}
    for part in sorted(parts, key=lambda p: (list(Row).index(p.row), [*first, p.encoder].index(p.encoder))):
        panels.setdefault(part[:4], []).append(part)
    for group in panels.values():
        each = [cosine_statistics(part.rows, bins=1) for part in group]
        edges = np.linspace(min(s.min for s in each) - 1e-9, max(s.max for s in each) + 1e-9, BINS + 1)
        for (encoder, weights, name, row, seed, rows), statistics in zip(group, each, strict=True):
            about = {"encoder": encoder, "weights": weights, "input": name, "seed": seed, "n": len(rows)}
            numbers = {q: getattr(statistics, q) for q in ("mean", "std", "min", "q25", "median", "q75", "max")}
            table.append({**about, **numbers, "row": row})
            counts = cosine_statistics(rows, bins=edges).histogram
            bins = {"left": edges[:-1], "right": edges[1:], "density": counts / counts.sum() / np.diff(edges)}
            histograms.append(pd.DataFrame({**about, "row": row, **bins}))
    return pd.DataFrame(table).astype({"seed": "Int64"}), pd.concat(histograms).astype({"seed": "Int64"})


def said(table: pd.DataFrame) -> Iterator[str]:
    """Means for the terminal."""
    for names, means in table.groupby(["encoder", "weights", "input"], sort=False)["mean"]:
        yield f"{', '.join(names)}: mean cosine {means.mean():.4f} ({means.min():.4f} to {means.max():.4f})"


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """Published means and standard deviations beside ours, judged by the interval for one further seed."""
    found = []
    ours = table[table["encoder"].isin(PUBLISHED)]
    for (row, encoder, name), part in ours.groupby(["row", "encoder", "input"], sort=False):
        same_data = row == Row.RANDOM_NOISE or (name.startswith("MSCOCO val2017") and part["n"].min() >= ENOUGH)
        own = same_data and (row != Row.TRAINED_REAL or part["weights"].isin(PAPER_WEIGHTS).all())
        place, on = list(PUBLISHED).index(encoder), f"{name}, n = {part['n'].iloc[0]}"
        for what, key in (("mean", f"{KEY}.{row}.{PUBLISHED[encoder]}"), ("std", f"{KEY}.std.{row}.{place}")):
            theirs, mean = published.numbers()[key].value, part[what].mean()
            low, high = prediction_interval(part[what]) if len(part) > 1 else (None, None)
            interval = f"95% prediction, {len(part)} seeds" if len(part) > 1 else ""
            agrees, note = None, "one seed: no interval"
            if not own:
                note = "other data, or fewer, or other weights"
            elif row == Row.TRAINED_REAL:
                agrees, note = bool(abs(mean - theirs) < NEAR[what]), f"{NEAR[what]:g} apart at most asked for"
            elif len(part) > 1:
                agrees, note = low <= theirs <= high, f"95% interval for one further seed, {len(part)} seeds"
            found.append(published.compare(key, mean, on, agrees, note, low, high, bool(own), interval))
    return found


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    title = "Figure 2 (a): the cosine between any two embeddings of one encoder"
    settings = cli.own_output(settings, *settings.embeddings)
    return cli.publish_run(NAME, settings, measure, {"": draw}, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
