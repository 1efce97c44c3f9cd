"""Figure 3 (a-d): the contrastive loss as a function of the modality gap.

Images and texts are moved along the gap vector, towards each other and past each other, and the contrastive loss
is measured at every shift and temperature. The paper's claims: at temperature 1/100, where CLIP was trained, the
lowest loss is at the model's own gap; at 1/50 it is at a smaller gap; at 1 near zero. Another local minimum, with the
modalities past each other, fades as the temperature rises.

    python Figure_3_Contrastive_Learning/loss_landscape.py                      (embedded: half a minute on 2 cores)
    python Figure_3_Contrastive_Learning/loss_landscape.py --embeddings mine.npz
    python Figure_3_Contrastive_Learning/loss_landscape.py --embeddings siglip.npz --loss sigmoid --batch None
    python Figure_3_Contrastive_Learning/loss_landscape.py --preset paper       (downloads CLIP and MSCOCO val2017)

Expect, on the embeddings that the authors published (CLIP ViT-B/16, 500 MSCOCO pairs, batches of 50, shifts in steps of
0.05): gap distance 0.851, and the lowest loss at signed gap 0.851 for 1/100, 0.723 for 1/50 and 0.008 for 1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import landscapes
from landscapes import DRAWS, FURTHER, PUBLISHED, SMALL_CLIP, Terms, no_minimum, temperature_label, terms
from util import Embeddings, UserError, cli, geometry, published
from util.embeddings import load_sets
from util.encoders.named import ModelName, Named
from util.extraction import extract
from util.measures import measure as measured
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca
from util.records import Comparison, Record

NAME = "loss_landscape"
PAPER_TEMPERATURES = (1 / 100, 1 / 50, 1 / 30, 1 / 20, 1 / 10, 1.0)
ACCEPTED = "The small CLIP was accepted for these minima. At 1/100 they lie at its gap or a little below."
PAPER_PAIRS = 5000
COARSEST = 0.25
"""The paper's step between shifts; a coarser grid judges no minimum."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.WithEmbeddings):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    batch: int | None = 50
    """Pairs per batch of the loss, in order; None: one batch. No batch of your own data holds an item twice."""
    loss: Literal["info_nce", "sigmoid"] = "info_nce"
    """CLIP's loss, or SigLIP's, at its own temperature."""
    logit_scale: float | None = None
    """SigLIP's scale t, not its logarithm; by default the logit_scale beside the vectors."""
    bias: float | None = None
    """SigLIP's bias b; by default the logit_bias beside the vectors."""
    temperatures: tuple[float, ...] = PAPER_TEMPERATURES
    """Values of tau, for instance --temperatures 0.01 0.07."""
    shift_step: float = 0.05
    """Distance between shifts, which run from -5 to 5 (the paper: 0.25)."""
    scenes: int = 2000
    """Generated pairs that the small CLIP embeds."""
    points: int = 500
    """Most points of each modality in panel a, a random subset by the seed."""
    model: ModelName = "open_clip:ViT-B-32:openai"
    """Of the paper preset: open_clip:MODEL:TAG (or a checkpoint file), huggingface:NAME, python:MODULE or
    FILE.py:FUNCTION."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/) for the paper preset; otherwise it comes from the hub."""
    caption: Literal["first", "last"] = "first"
    """Which caption of an image: first (as in the released extraction) or last."""
    ONLY: ClassVar = (
        cli.Only("scenes model coco caption", "runs without --embeddings",
                 lambda chosen: not chosen.embeddings),
        cli.Only("scenes", "the presets embedded and smoke", lambda chosen: chosen.preset != "paper"),
        cli.Only("model coco caption", "--preset paper", lambda chosen: chosen.preset == "paper"),
        cli.Only("logit_scale bias", "--loss sigmoid", lambda chosen: chosen.loss == "sigmoid"),
        cli.Only("temperatures", "--loss info_nce, for SigLIP's is 1 / --logit-scale",
                 lambda chosen: chosen.loss == "info_nce"),
    )  # fmt: skip


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", shift_step=0.25),
    "smoke": Settings(preset="smoke", shift_step=0.25, scenes=100, points=50),
}


def collect(settings: Settings, device: str) -> tuple[dict[str, Embeddings], list[str]]:
    """The embeddings to measure, by name, and one line for each that could not be had."""
    if settings.embeddings:
        return load_sets(settings.embeddings, cli.named_columns(settings.columns)), []
    if settings.preset == "paper":
        from util.corpora import tasks

        named = Named.parse(settings.model).trained()
        captioned = tasks.mscoco(settings.coco, split="val2017", caption=settings.caption)
        encoder = named.pair(device=device)
        return {f"{encoder.name}, MSCOCO val2017": extract(encoder, captioned)}, []
    found, left_out = {SMALL_CLIP: scene_embeddings(settings, device)}, []
    for system, name in PUBLISHED.items():
        try:
            found[name] = published.load(system)
        except UserError as error:
            left_out.append(f"{name}: {error}")
    return found, left_out


def scene_embeddings(settings: Settings, device: str) -> Embeddings:
    """The small CLIP's embeddings of pictures that it was not trained on, one caption each."""
    from util.corpora.generated.pictures import captioned_scenes
    from util.encoders import small_clip

    return extract(small_clip.load(device=device), captioned_scenes(settings.scenes, settings.seed), cache=False)


def landscape(name: str, found: Terms, settings: Settings, device: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``loss_landscape.csv`` for one set of embeddings, and the minima with their limits over batches."""
    x, y = (torch.from_numpy(array).to(device) for array in (found.x, found.y))
    shifts = cli.shift_grid(settings.shift_step)
    losses = landscapes.batch_losses(x, y, found, shifts)
    gaps = geometry.signed_gap_distances(x, y, shifts)
    table = pd.DataFrame(product(found.temperatures, shifts), columns=["temperature", "shift"])
    table.insert(0, "embeddings", name)
    table.insert(1, "batch", found.rows.shape[1])
    table["signed_gap_distance"] = np.tile(gaps, len(found.temperatures))
    table["loss"], table["loss_as_released"] = (each.mean(0).T.ravel() for each in losses)
    around = landscapes.limits(losses.symmetric, shifts, gaps, np.random.default_rng(settings.seed))
    gap = measured(found.x, found.y, only=["gap_distance"]).row("gap_distance")
    lowest = landscapes.minima(table, around)
    return table, lowest.assign(default_gap_low=gap["low"], default_gap_high=gap["high"])


def view(name: str, embeddings: Embeddings, settings: Settings) -> tuple[pd.DataFrame, dict]:
    """Panel a: points on the first two joint principal components, with the centroids and the gap direction."""
    x, y = embeddings.paired()
    pca = joint_pca([x, y], components=min(6, 2 * len(x), x.shape[1]))
    items = np.sort(np.random.default_rng(settings.seed).permutation(len(x))[: settings.points])
    rows = [pd.DataFrame(pca.transform(array[items])[:, :2], items, ["pc1", "pc2"]) for array in (x, y)]
    points = pd.concat(rows, keys=[(name, modality) for modality in embeddings.names])
    points = points.rename_axis(["embeddings", "modality", "item"]).reset_index()
    about = {
        "dim": x.shape[1],
        "gap_distance": geometry.gap_distance(x, y),
        "explained_variance_ratio": pca.explained_variance_ratio_,
        "centroids": [pca.transform(a.mean(0, dtype=np.float64)[None])[0, :2] for a in (x, y)],
        "direction": pca.components_[:2] @ geometry.unit_gap_vector(x, y),
    }
    return points, about


def compare(
    table: pd.DataFrame, lowest: pd.DataFrame, second: pd.DataFrame, about: Mapping, settings: Settings
) -> list[Comparison]:
    """The paper's numbers beside those of each CLIP, and its claims for every set of embeddings."""
    rows, paper = [], PRESETS["paper"]
    if settings.embeddings or settings.loss != "info_nce":
        return []
    options = ("preset", "batch", "caption", "model", "embeddings")
    whole = all(getattr(settings, option) == getattr(paper, option) for option in options)
    for name, facts in about.items():
        curves, found, passed = (part[part["embeddings"] == name] for part in (table, lowest, second))
        own, beyond = whole and facts["n_pairs"] == PAPER_PAIRS, name in FURTHER
        if not beyond:
            ours = measured_numbers(facts, curves, passed)
            rows += [published.compare(key, value, name, own=own) for key, value in ours.items()]
        how = f"batches of {found['batch'].iloc[0]}, shifts in steps of {settings.shift_step:g}"
        for claim, value, holds, note, ends in claims(found, passed):
            judged = None if settings.shift_step > COARSEST else holds
            key = f"figure_3.{'systems' if beyond else 'claims'}.{claim}"
            said = f"{note}, {how}" + f"; {ACCEPTED}" * (name == SMALL_CLIP and claim < 3)
            rows.append(published.compare(key, value, name, judged, said, own=own, **ends))
    return rows


def claims(found: pd.DataFrame, passed: pd.DataFrame) -> Iterator[tuple[int, float | str, bool, str, dict]]:
    """Number of each claim, what one set of embeddings has for it, whether it holds, a note and limits."""
    own, smaller, zero, _ = (each.judged_by.tolerance for each in published.numbers("figure_3.claims.").values())
    for row in found.itertuples():
        gap, default, tau = row.gap_at_minimum, row.default_gap, temperature_label(row.temperature)
        holds = {"1/100": abs(gap - default) <= own, "1/50": 0 <= gap <= default - smaller, "1": abs(gap) <= zero}
        ends = {"low": row.gap_low, "high": row.gap_high, "interval": landscapes.INTERVAL}
        why, note = no_minimum(row), f"default gap {default:.3f}"
        if why or np.isnan(row.gap_low):
            ends, note = {}, f"{note}, {f'no minimum: {why}' if why else f'no interval: {row.batches} batches'}"
        if tau in holds:
            yield list(holds).index(tau), "none" if why else gap, bool(holds[tau] and not why), note, ends
    gaps = {temperature_label(tau): "none" for tau in found["temperature"]}
    for row in passed[passed["curve"] == "symmetric"].itertuples():
        gaps[temperature_label(row.temperature)] = f"{row.signed_gap_distance:.3f}"
    if {"1/100", "1"} <= set(gaps):
        agrees = gaps["1/100"] != "none" and gaps["1"] == "none"
        yield 3, ", ".join(f"{gap} at {tau}" for tau, gap in gaps.items()), agrees, f"default gap {default:.3f}", {}


def measured_numbers(facts: Mapping, table: pd.DataFrame, passed: pd.DataFrame) -> dict[str, float]:
    """Our value of every published number that one set of embeddings gives, by its key."""
    ratios, released = facts["explained_variance_ratio"], table["loss_as_released"]
    ours = {"gap_distance": facts["gap_distance"], "pca_explained_variance_ratio.sum": sum(ratios)}
    ours |= {f"pca_explained_variance_ratio.{k}": ratio for k, ratio in enumerate(ratios)}
    for row in table[np.isclose(table["shift"], table["shift"].round(2))].itertuples():
        ours[f"two_sided_shift_to_distance.{row.shift:.2f}"] = abs(row.signed_gap_distance)
    for row in table.loc[released.groupby(table["temperature"]).idxmin()].itertuples():
        scale = temperature_label(row.temperature).removeprefix("1/")
        ours |= {f"read.shift.{scale}": row.shift, f"read.loss.{scale}": row.loss_as_released}
    near = (passed["curve"] == "as released") & np.isclose(passed["temperature"], 1 / 100)
    for name, columns in (("back_to_back", [*landscapes.PLACE, "loss"]), ("barrier", landscapes.BARRIER)):
        for row in passed.loc[near, columns].to_numpy():
            ours |= {f"read.{name}.{what}": each for what, each in zip(("shift", "distance", "loss"), row, strict=True)}
    return {key: float(ours[key[9:]]) for key in published.numbers("figure_3.") if key[9:] in ours}


def summary(found: Terms, lowest: pd.DataFrame, facts: Mapping) -> str:
    """A line for the terminal: how many pairs, the gap, and where the loss is lowest."""
    places = []
    for row in lowest.itertuples():
        why, tau = no_minimum(row), temperature_label(row.temperature)
        places.append(f"none at {tau} ({why})" if why else f"{row.gap_at_minimum:+.3f} at {tau}")
    said = f"gap {facts['gap_distance']:.3f}; lowest loss at gap {', '.join(places)}"
    said += f"; {found.count} in {len(found.rows)} x {found.rows.shape[1]}"
    if found.bias is None:
        return said
    matched = facts["mean_matched_probability"]
    return f"{said}; sigmoid loss {lowest['default_loss'].iloc[0]:.6f}, mean matched probability {matched:.6f}"


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every set of embeddings: its landscape, its minima, and its view."""
    as_count(settings.points, "--points")
    as_count(settings.scenes, "--scenes", least=2)
    everything, left_out = collect(settings, device)
    parts, about, said = [], {}, []
    for name, embeddings in tqdm(everything.items(), desc=NAME, unit="set", disable=None):
        found = terms(name, embeddings, settings)
        points, about[name] = view(name, embeddings, settings)
        about[name] |= found.facts()
        parts.append((*landscape(name, found, settings, device), points))
        said += [f"{name}: {line}" for line in (*found.said, summary(found, parts[-1][1], about[name]))]
        left_out += [f"{name}: {line}" for line in found.left_out()]
    table, lowest, points = (pd.concat(some, ignore_index=True) for some in zip(*parts, strict=True))
    second = landscapes.back_to_back(table, published.numbers()["figure_3.claims.3"].judged_by.tolerance)
    return cli.Measured(
        tables={"": table, "points": points, "minima": lowest, "back_to_back": second},
        data=[{"name": name, **embeddings.source} for name, embeddings in everything.items()],
        dtype="float32 embeddings, float64 losses",
        comparisons=compare(table, lowest, second, about, settings),
        left_out=left_out,
        results=about,
        said=said,
        undrawn=["_systems"] if len(everything) == 1 else [],
    )


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures, records and draws; your own embeddings go to a folder of their own."""
    words = cli.words(__file__)
    for picture in ("_temperatures", "_systems") if not settings.embeddings and settings.preset != "paper" else ():
        words["captions"][f"{NAME}{picture}"] += f" {ACCEPTED}"  # they show the small CLIP
    return cli.publish_run(NAME, settings, measure, DRAWS, **words, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
