"""Figure 3 (a-d): the contrastive loss as a function of the modality gap.

Images and texts are moved along the gap vector, towards each other and past each other, and the contrastive loss
is measured at every shift and temperature. The paper's claims: at temperature 1/100, where CLIP was trained, the
lowest loss is at the model's own gap; at 1/50 it is at a smaller gap; at 1 near zero.

    python Figure_3_Contrastive_Learning/loss_landscape.py                      (embedded: seconds on 2 cores)
    python Figure_3_Contrastive_Learning/loss_landscape.py --embeddings mine.npz
    python Figure_3_Contrastive_Learning/loss_landscape.py --preset paper       (downloads CLIP and MSCOCO val2017)

Expect, on the embeddings that the authors published (CLIP ViT-B/16, 500 MSCOCO pairs): gap distance 0.851, and the
lowest loss at signed gap 0.851 for 1/100, 0.632 for 1/50 and 0.115 for 1 on the paper's grid of shifts (steps of 0.25).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import tyro
from tqdm import tqdm

from landscape_figure import SMALL_CLIP, draw, draw_strip, draw_temperatures
from util import Embeddings, UserError, cli, contrastive, figures, files, geometry, published
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca
from util.records import Comparison, Record

NAME = "loss_landscape"
PAPER_TEMPERATURES = (1 / 100, 1 / 50, 1 / 30, 1 / 20, 1 / 10, 1.0)
CAPTIONS = {
    NAME: "Panel a: images and texts on two joint principal components; arrows: where a positive shift moves them. "
    "Panels b-d: contrastive loss against the signed gap distance after the shift, at three temperatures; dashed: the "
    "model's own gap; ring: the lowest loss; dotted: the loss as released, image-to-text only.",
    f"{NAME}_temperatures": "The same at every temperature, one curve for each set of embeddings.",
    f"{NAME}_strip": "In short, for the last set of embeddings: two modalities apart, and where the loss is lowest.",
}
NEAR = 0.1
"""Largest distance of a minimum from the default gap, or from zero, that counts as there; at least half a step."""
PAPER_PAIRS = 5000
CLOSE = 0.005
"""Largest distance of a number from a published one of the same model and data."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npy, .npz or .safetensors, in place of the preset's; repeatable."""
    batch: int | None = 50
    """Pairs per batch of the loss, consecutive, as released; None: all pairs as one batch."""
    temperatures: tuple[float, ...] = PAPER_TEMPERATURES
    """Values of tau, for instance --temperatures 0.01 0.07."""
    shift_step: float = 0.05
    """Distance between shifts, which run from -5 to 5 (the paper: 0.25)."""
    scenes: int = 2000
    """Generated pairs that the small CLIP embeds."""
    points: int = 500
    """Most points of each modality in panel a, a random subset by the seed."""
    model: str = "ViT-B-32"
    """open_clip model of the paper preset."""
    pretrained: str = "openai"
    """Its pretrained tag, or a checkpoint file."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/) for the paper preset; otherwise it comes from the hub."""
    caption: Literal["first", "last"] = "first"
    """Which caption of an image: first (as in the released extraction) or last."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", shift_step=0.25),
    "smoke": Settings(preset="smoke", shift_step=0.5, scenes=100, points=50),
}


def collect(settings: Settings, device: str) -> tuple[dict[str, Embeddings], list[str]]:
    """The embeddings to measure, by name, and one line for each that could not be had."""
    if settings.embeddings:
        return own_embeddings(settings.embeddings), []
    if settings.preset == "paper":
        from util.corpora import coco
        from util.encoders import open_clip_pair
        from util.extraction import extract

        captioned = coco.load(settings.coco, split="val2017", caption=settings.caption)
        encoder = open_clip_pair.load(settings.model, settings.pretrained, device=device)
        return {f"{settings.model} {settings.pretrained}, MSCOCO val2017": extract(encoder, captioned)}, []
    found, left_out = {SMALL_CLIP: scene_embeddings(settings, device)}, []
    try:
        found["published CLIP ViT-B/16, MSCOCO"] = published.load("clip", "trained", fetch=False)
    except UserError as error:
        left_out.append(f"published CLIP: {error}")
    return found, left_out


def own_embeddings(paths: Sequence[Path]) -> dict[str, Embeddings]:
    """Your own files, each named by its stem, or by its path where two stems are the same."""
    loaded = [Embeddings.load(path) for path in paths]
    loaded = [replace(e, source={**e.source, "sha256": files.sha256(e.source["path"])}) for e in loaded]
    names = [path.stem for path in paths]
    unique = len(set(names)) == len(names)
    return dict(zip(names if unique else map(str, paths), loaded, strict=True))


def scene_embeddings(settings: Settings, device: str) -> Embeddings:
    """The small CLIP's embeddings of pictures that it was not trained on."""
    from util.corpora.generated import pictures
    from util.encoders import small_clip
    from util.encoders.small_clip_evaluation import TEST_SEED

    seed = TEST_SEED + settings.seed
    scenes = pictures.scenes(settings.scenes, seed=seed, split="all")
    clip = small_clip.load(device=device)
    modalities = {"image": clip.encode_images(scenes.images), "text": clip.encode_texts(scenes.captions)}
    source = {
        "model": "small CLIP, util/data/small_clip.safetensors",
        "sha256": files.sha256(small_clip.CHECKPOINT),
        "data": "generated scenes (util.corpora.generated), of all combinations of attributes, never trained on",
        "split": "all",
        "seed": seed,
        "caption_rule": "one caption for each picture, of mixed forms",
    }
    return Embeddings.of(modalities, source=source)


def landscape(name: str, embeddings: Embeddings, settings: Settings, device: str) -> pd.DataFrame:
    """Loss at every shift and temperature: the rows of ``loss_landscape.csv`` for one set of embeddings."""
    x, y = (torch.from_numpy(array).to(device) for array in embeddings.paired())
    if settings.batch is not None and settings.batch > len(x):
        raise UserError(f"{name}: --batch {settings.batch} is more than its {len(x)} pairs; choose a smaller one")
    shifts = cli.shift_grid(settings.shift_step)
    losses = contrastive.sweep_both(x, y, shifts, settings.temperatures, settings.batch)
    columns = {"temperature": settings.temperatures, "shift": shifts}
    table = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    table.insert(0, "embeddings", name)
    table.insert(1, "batch", settings.batch or len(x))
    table["signed_gap_distance"] = np.tile(geometry.signed_gap_distances(x, y, shifts), len(settings.temperatures))
    table["loss"], table["loss_as_released"] = losses.symmetric.T.ravel(), losses.released.T.ravel()
    return table


def minima(table: pd.DataFrame) -> pd.DataFrame:
    """Where each loss curve is lowest, beside the default gap."""
    curve = ["embeddings", "batch", "temperature"]
    groups = table.groupby(curve, sort=False)
    default = table[table["shift"] == 0].set_index(curve)
    lowest, released = (table.loc[groups[loss].idxmin()].set_index(curve) for loss in ("loss", "loss_as_released"))
    found = {
        "default_gap": default["signed_gap_distance"],
        "default_loss": default["loss"],
        "shift_at_minimum": lowest["shift"],
        "gap_at_minimum": lowest["signed_gap_distance"],
        "lowest_loss": lowest["loss"],
        "gap_at_minimum_as_released": released["signed_gap_distance"],
    }
    return pd.DataFrame(found).reset_index()


def view(name: str, embeddings: Embeddings, settings: Settings) -> tuple[pd.DataFrame, dict]:
    """Panel a: points on the first two joint principal components, with the centroids and the gap direction."""
    x, y = embeddings.paired()
    pca = joint_pca([x, y], components=min(6, 2 * len(x), x.shape[1]))
    items = np.sort(np.random.default_rng(settings.seed).permutation(len(x))[: settings.points])
    parts = []
    for modality, array in zip((embeddings.names[0], embeddings.names[-1]), (x, y), strict=True):
        part = pd.DataFrame(pca.coordinates(array[items])[:, :2], columns=["pc1", "pc2"])
        parts.append(part.assign(embeddings=name, modality=modality, item=items))
    points = pd.concat(parts)[["embeddings", "modality", "item", "pc1", "pc2"]]
    about = {
        "n_pairs": len(x),
        "dim": x.shape[1],
        "gap_distance": geometry.gap_distance(x, y),
        "mean_cosine_other": geometry.mean_cosine(x),
        "mean_cosine_text": geometry.mean_cosine(y),
        "matched_cosine": geometry.matched_cosine(x, y),
        "explained_variance_ratio": pca.explained_variance_ratio,
        "centroids": [pca.coordinates(a.mean(0, dtype=np.float64)[None])[0, :2] for a in (x, y)],
        "direction": pca.direction(geometry.unit_gap_vector(x, y))[:2],
    }
    return points, about


def compare(table: pd.DataFrame, lowest: pd.DataFrame, about: Mapping, settings: Settings) -> list[Comparison]:
    """The paper's numbers and claims beside ours; numbers are judged for the paper's own model and data alone."""
    rows, near = [], max(NEAR, settings.shift_step / 2)
    whole = settings.preset == "paper" and settings.batch == PRESETS["paper"].batch
    for name, facts in about.items():
        same = whole and name.startswith("ViT-B-32 openai") and facts["n_pairs"] == PAPER_PAIRS
        for key, ours in measured_numbers(facts, table[table["embeddings"] == name]).items():
            agrees = bool(abs(ours - published.numbers()[key].value) <= CLOSE) if same else None
            note = f"{CLOSE:g} apart at most asked for" if same else "another model or other data"
            rows.append(published.compare(key, ours, name, agrees, note, own=same))
        for row in lowest[lowest["embeddings"] == name].itertuples():
            gap, default = row.gap_at_minimum, row.default_gap
            note = f"default gap {default:.3f}, batches of {row.batch}, shifts in steps of {settings.shift_step:g}"
            holds = {1 / 100: abs(gap - default) <= near, 1 / 50: 0 <= gap < default, 1.0: abs(gap) <= near}
            for k, (tau, agrees) in enumerate(holds.items()):
                if np.isclose(row.temperature, tau):
                    judged = None if settings.embeddings else bool(agrees)  # of your own data the paper claims nothing
                    rows.append(published.compare(f"figure_3.claims.{k}", gap, name, judged, note, own=same))
    return rows


def measured_numbers(facts: Mapping, table: pd.DataFrame) -> dict[str, float]:
    """Our value of every published number that one set of embeddings gives, by its key."""
    ours = {"figure_3.gap_distance": facts["gap_distance"]}
    for k, ratio in enumerate(facts["explained_variance_ratio"]):
        ours[f"figure_3.pca_explained_variance_ratio.{k}"] = float(ratio)
    prefix = "figure_3.two_sided_shift_to_distance."
    for key in published.numbers(prefix):
        found = table[np.isclose(table["shift"], float(key.removeprefix(prefix)))]["signed_gap_distance"]
        ours |= {key: abs(float(found.iloc[0]))} if len(found) else {}
    return ours


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every set of embeddings: its landscape, its minima, and its view."""
    check(settings)
    everything, left_out = collect(settings, device)
    tables, points, about = [], [], {}
    for name, embeddings in tqdm(everything.items(), desc=NAME, unit="set", disable=None):
        tables.append(landscape(name, embeddings, settings, device))
        part, about[name] = view(name, embeddings, settings)
        points.append(part)
    table = pd.concat(tables, ignore_index=True)
    lowest, line = minima(table), "{}: temperature {}: lowest loss at gap {:+.3f} (its own: {:.3f})"
    said = [
        line.format(row.embeddings, figures.temperature_label(row.temperature), row.gap_at_minimum, row.default_gap)
        for row in lowest.itertuples()
    ]
    return cli.Measured(
        tables={"": table, "points": pd.concat(points), "minima": lowest},
        data=[{"name": name, **embeddings.source} for name, embeddings in everything.items()],
        dtype="float32 embeddings, float64 losses",
        comparisons=compare(table, lowest, about, settings),
        left_out=left_out,
        results=about,
        said=said,
    )


def check(settings: Settings) -> None:
    """Refuses a count below its least, and an option of the paper preset in another."""
    as_count(settings.points, "--points")
    as_count(settings.scenes, "--scenes", least=2)
    for name in ("model", "pretrained", "coco", "caption") if settings.preset != "paper" else ():
        if getattr(settings, name) != getattr(PRESETS["embedded"], name):
            raise UserError(f"--{name} only applies to --preset paper; this run is --preset {settings.preset}")


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures, records and draws; your own embeddings go to a folder of their own."""
    settings = cli.own_output(settings, *settings.embeddings)
    draws = {"": draw, "_temperatures": draw_temperatures, "_strip": draw_strip}
    title = "Figure 3 (a-d): the contrastive loss against the modality gap"
    return cli.publish_run(NAME, settings, measure, draws, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
