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

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import tyro
from tqdm import tqdm

from util import Embeddings, UserError, cli, contrastive, figures, files, geometry, published, records
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca

NAME = "loss_landscape"
PAPER_TEMPERATURES = (1 / 100, 1 / 50, 1 / 30, 1 / 20, 1 / 10, 1.0)
PANELS = {1 / 100: "b", 1 / 50: "c", 1.0: "d"}
CAPTIONS = {
    NAME: "Panel a: images and texts on their first two joint principal components; the arrows show where a positive "
    "shift moves each modality. Panels b-d: contrastive loss against the signed gap distance after the shift, at three "
    "temperatures; the dashed line is the model's own gap, the ring the lowest loss. Dotted: the loss as released, "
    "image-to-text only.",
    f"{NAME}_temperatures": "The same at every temperature, one curve for each set of embeddings.",
}
SMALL_CLIP = "small CLIP, generated scenes"
NEAR = 0.1
"""How far, in gap distance, a minimum may lie from the default gap, or from zero, and still count as there; on a coarse
grid of shifts, half a step."""


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
        loaded = [Embeddings.load(path) for path in settings.embeddings]
        loaded = [replace(e, source={**e.source, "sha256": files.sha256(e.source["path"])}) for e in loaded]
        names = [path.stem for path in settings.embeddings]
        unique = len(set(names)) == len(names)
        return dict(zip(names if unique else map(str, settings.embeddings), loaded, strict=True)), []
    if settings.preset == "paper":
        from util.corpora import coco
        from util.encoders import open_clip_pair
        from util.extraction import extract

        captioned = coco.load(settings.coco, split="val2017", caption=settings.caption)
        encoder = open_clip_pair.load(settings.model, settings.pretrained, device=device)
        return {f"{settings.model} {settings.pretrained}, MSCOCO val2017": extract(encoder, captioned)}, []
    found = {SMALL_CLIP: scene_embeddings(settings, device)}
    try:
        found["published CLIP ViT-B/16, MSCOCO"] = published.load("clip", "trained", fetch=False)
    except UserError as error:
        return found, [f"published CLIP: {error}"]
    return found, []


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
    distances = geometry.signed_gap_distances(x, y, shifts)
    columns = {"temperature": settings.temperatures, "shift": shifts}
    table = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    table.insert(0, "embeddings", name)
    table.insert(1, "batch", settings.batch or len(x))
    table["signed_gap_distance"] = np.tile(distances, len(settings.temperatures))
    table["loss"], table["loss_as_released"] = losses.symmetric.T.ravel(), losses.released.T.ravel()
    return table


def minima(table: pd.DataFrame) -> pd.DataFrame:
    """Where each loss curve is lowest, beside the default gap."""
    rows = []
    for (name, batch, tau), curve in table.groupby(["embeddings", "batch", "temperature"], sort=False):
        default, best = curve.loc[curve["shift"].abs().idxmin()], curve.loc[curve["loss"].idxmin()]
        released = curve.loc[curve["loss_as_released"].idxmin()]
        rows.append(
            {
                "embeddings": name,
                "batch": batch,
                "temperature": tau,
                "default_gap": default["signed_gap_distance"],
                "default_loss": default["loss"],
                "shift_at_minimum": best["shift"],
                "gap_at_minimum": best["signed_gap_distance"],
                "lowest_loss": best["loss"],
                "gap_at_minimum_as_released": released["signed_gap_distance"],
            }
        )
    return pd.DataFrame(rows)


def view(name: str, embeddings: Embeddings, settings: Settings) -> tuple[pd.DataFrame, dict]:
    """Panel a: points on the first two joint principal components, with the centroids and the gap direction."""
    x, y = embeddings.paired()
    pca = joint_pca([x, y], components=min(6, 2 * len(x), x.shape[1]))
    keep = np.random.default_rng(settings.seed).permutation(len(x))[: settings.points]
    parts = []
    for modality, array in zip((embeddings.names[0], embeddings.names[-1]), (x, y), strict=True):
        at = pca.coordinates(array[np.sort(keep)])
        parts.append(pd.DataFrame({"modality": modality, "item": np.sort(keep), "pc1": at[:, 0], "pc2": at[:, 1]}))
    points = pd.concat(parts)
    points.insert(0, "embeddings", name)
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


def compare(lowest: pd.DataFrame, about: Mapping, settings: Settings) -> list[records.Comparison]:
    """The paper's numbers and claims beside ours."""
    paper = published.values()["figure_3"]
    rows, near = [], max(NEAR, settings.shift_step / 2)
    for name, facts in about.items():
        ours, theirs = facts["gap_distance"], paper["gap_distance"]
        same = settings.preset == "paper" and name.startswith("ViT-B-32 openai")
        agrees, note = (abs(ours - theirs) < 0.005, "") if same else (None, "another model or other data")
        rows.append(records.Comparison("Figure 3", "gap distance", theirs, ours, name, agrees, note))
    for row in lowest.itertuples():
        gap, default = row.gap_at_minimum, row.default_gap
        claims = {
            1 / 100: ("the default gap", abs(gap - default) <= near),
            1 / 50: ("a smaller gap", 0 <= gap < default),
            1.0: ("near zero", abs(gap) <= near),
        }
        for tau, (claim, agrees) in claims.items():
            if np.isclose(row.temperature, tau):
                quantity = f"signed gap at the lowest loss, temperature {figures.temperature_label(tau)}"
                note = f"default gap {default:.3f}"
                rows.append(
                    records.Comparison(f"Figure 3 ({PANELS[tau]})", quantity, claim, gap, row.embeddings, agrees, note)
                )
    return rows


def draw(record: records.Record) -> plt.Figure:
    """The figure laid out as the paper's: one row of panels a-d for each set of embeddings."""
    names = list(record.about["results"])
    figure = plt.figure(figsize=(9.6, 2.75 * len(names)), layout="constrained")
    for name, row in zip(names, np.atleast_1d(figure.subfigures(len(names), 1, hspace=0.06)), strict=True):
        facts, table = record.about["results"][name], record.tables[""].query("embeddings == @name")
        note = f"  ({figures.EMBEDDED_NOTE})" if name == SMALL_CLIP else ""
        row.suptitle(f"{figures.plain(name)}: {facts['n_pairs']} pairs{note}", x=0.01, ha="left", fontsize=9)
        present = table["temperature"].unique()
        chosen = [t for t in PANELS if np.isclose(present, t).any()] or list(present[:3])
        axes = row.subplots(1, 1 + len(chosen), width_ratios=[1.15] + [1] * len(chosen))
        draw_points(np.atleast_1d(axes)[0], record.tables["points"].query("embeddings == @name"), facts)
        for letter, temperature, ax in zip("bcd", chosen, axes[1:], strict=False):
            curve = table[np.isclose(table["temperature"], temperature)]
            draw_curve(ax, curve)
            figures.panel_title(ax, letter, f"temperature {figures.temperature_label(temperature)}")
        axes[1].set_ylabel("contrastive loss (nats)")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_points(ax: plt.Axes, points: pd.DataFrame, facts: Mapping) -> None:
    """Both modalities on two principal components, with an arrow from each centroid along the shift."""
    for (modality, part), colour in zip(
        points.groupby("modality", sort=False), (figures.OTHER, figures.TEXT), strict=True
    ):
        ax.scatter(part["pc1"], part["pc2"], s=4, color=colour, alpha=0.45, linewidths=0, label=figures.plain(modality))
    direction = np.array(facts["direction"])
    for at, sign in zip(np.array(facts["centroids"]), (-1, 1), strict=True):
        tip = at + sign * direction * 0.42 * facts["gap_distance"]
        style = {"arrowstyle": "-|>", "color": figures.INK, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=tip, xytext=at, arrowprops=style, zorder=4)
        ax.plot(*at, "o", color=figures.INK, ms=3.5, zorder=5)
    ratio = facts["explained_variance_ratio"]
    ax.set_xlabel(f"principal component 1 ({ratio[0]:.0%} of variance)")
    ax.set_ylabel(f"principal component 2 ({ratio[1]:.0%})")
    ax.legend(loc="best", markerscale=2.5, handletextpad=0.1)
    ax.margins(0.08)
    figures.panel_title(ax, "a", f"gap distance {facts['gap_distance']:.2f}; arrows: shift > 0")


def draw_curve(ax: plt.Axes, curve: pd.DataFrame) -> None:
    """Loss against signed gap distance, default gap and minimum marked."""
    curve = curve.sort_values("signed_gap_distance")
    default, best = curve.loc[curve["shift"].abs().idxmin()], curve.loc[curve["loss"].idxmin()]
    gap = curve["signed_gap_distance"]
    ax.plot(gap, curve["loss_as_released"], color=figures.MUTED, lw=0.9, ls=":", label="as released (image to text)")
    ax.plot(gap, curve["loss"], color=figures.INK, label="symmetric")
    ax.axvline(default["signed_gap_distance"], color=figures.TEXT, ls="--", lw=1, label="default gap")
    ax.plot(
        best["signed_gap_distance"], best["loss"], "o", ms=5, mfc="white", mec=figures.OTHER, mew=1.5, label="lowest"
    )
    ax.set_xlabel("signed gap distance")
    ax.set_xlim(-2, 2)


def draw_temperatures(record: records.Record) -> plt.Figure:
    """Every temperature in a panel of its own, one curve for each set of embeddings."""
    table = record.tables[""]
    temperatures = table["temperature"].unique()
    rows = -(-len(temperatures) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9.0, 2.5 * rows), layout="constrained", squeeze=False)
    for ax, temperature in zip(axes.flat, temperatures, strict=False):
        for (name, curve), colour in zip(
            table[table["temperature"] == temperature].groupby("embeddings", sort=False),
            figures.SERIES * 9,
            strict=False,
        ):
            curve = curve.sort_values("signed_gap_distance")
            default, best = curve.loc[curve["shift"].abs().idxmin()], curve.loc[curve["loss"].idxmin()]
            ax.plot(curve["signed_gap_distance"], curve["loss"], color=colour, label=figures.plain(name))
            ax.axvline(default["signed_gap_distance"], color=colour, ls="--", lw=0.9)
            ax.plot(best["signed_gap_distance"], best["loss"], "o", ms=5, mfc="white", mec=colour, mew=1.4)
        ax.set(
            xlim=(-2, 2), xlabel="signed gap distance", title=f"temperature {figures.temperature_label(temperature)}"
        )
    for ax in axes.flat[len(temperatures) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("contrastive loss (nats)")
    if SMALL_CLIP in record.about["results"]:
        figure.suptitle(f"{SMALL_CLIP}: {figures.EMBEDDED_NOTE}", x=0.01, ha="left", fontsize=8)
    axes[0, 0].plot([], [], color=figures.MUTED, ls="--", lw=0.9, label="default gap")
    axes[0, 0].plot([], [], "o", ms=5, mfc="white", mec=figures.MUTED, mew=1.4, label="lowest loss")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def main(settings: Settings) -> None:
    """Measures, records, draws."""
    start, device = time.perf_counter(), cli.resolve_device(settings.device)
    as_count(settings.points, "--points"), as_count(settings.scenes, "--scenes", least=2)
    everything, left_out = collect(settings, device)
    for line in left_out:
        cli.say(f"[{NAME}] left out: {line}")
    tables, points, about = [], [], {}
    for name, embeddings in tqdm(everything.items(), desc=NAME, unit="set"):
        tables.append(landscape(name, embeddings, settings, device))
        part, about[name] = view(name, embeddings, settings)
        points.append(part)
    table, data = pd.concat(tables), [{"name": n, **e.source} for n, e in everything.items()]
    lowest = minima(table)
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            {"": table, "points": pd.concat(points), "minima": lowest},
            settings=settings,
            seconds=time.perf_counter() - start,
            device=device,
            dtype="float32 embeddings, float64 losses",
            data=data,
            comparisons=compare(lowest, about, settings),
            left_out=left_out,
            results=about,
            title="Figure 3 (a-d): the contrastive loss against the modality gap",
            captions=CAPTIONS,
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
        figures.save(draw_temperatures(record), folder, f"{NAME}_temperatures")
    for row in lowest.itertuples():
        at = f"gap {row.gap_at_minimum:+.3f} (its own: {row.default_gap:.3f})"
        cli.say(
            f"[{NAME}] {row.embeddings}: temperature {figures.temperature_label(row.temperature)}: lowest loss at {at}"
        )
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
