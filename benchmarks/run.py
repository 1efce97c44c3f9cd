"""Speed and memory beside the procedures as released, as ratios measured in one run: the parts that --only names.

benchmarks: startup, measures and the loss. cone: Figure 2's depth curve, and encoding beside the plain float32 loop, an
input at a time and in batches of 64, on ViT-B/32 with random weights. zero_shot: Table 1 at 40 shifts. There ours gives
top-1, top-5 and per-class accuracies, or recall@1, 5 and 10 both ways. The released procedures, which give less, run at
a few shifts, and count as often as 40 shifts need.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

import frame
import released
from frame import LOGIT_SCALES, SHIFTS, TEMPERATURES, WIDTH, compared, fact, pairs, row, seconds
from util import cli, contrastive, geometry
from util.corpora.generated import pictures
from util.encoders.named import Named
from util.reporting.steps import STEPS
from util.zero_shot.shifted import class_ranks, retrieve

PLAIN = {name: getattr(torch.nn.functional, name) for name in ("sigmoid", "relu", "leaky_relu", "tanh")}
PLAIN["none"] = torch.nn.Identity()
KS = (1, 5, 10)


def sweep(x, y, shifts=SHIFTS):
    """Losses over all pairs as one batch."""
    return contrastive.sweep(x, y, shifts, TEMPERATURES)


def statistics(x):
    """Smallest and mean cosine, beside them quartiles and a histogram."""
    found = geometry.cosine_statistics(x, 1000)
    return found.min, found.mean


def released_statistics(x):
    """The same as released."""
    return released.cosine_statistics(x)[:2]


def speed(x, y, runs: int) -> list[dict]:
    """The two sweeps and the statistics."""

    def batched(shifts):
        geometry.signed_gap_distances(x, y, shifts)
        return contrastive.sweep(x, y, shifts, TEMPERATURES, 50, released=True)

    def released_whole(shifts):
        return [[released.full_batch_loss(x, y, amount, scale) for scale in LOGIT_SCALES] for amount in shifts]

    of = f"{len(x)} x {WIDTH}"
    batches = f"40 shifts x 6 temperatures, {of} pairs, batches of 50"
    return [
        compared(batches, 80, batched, lambda s: released.loss_landscape(x, y, s, LOGIT_SCALES)[0], runs),
        compared(f"the same over one batch of {len(x)}", 15, partial(sweep, x, y), released_whole, runs, SHIFTS[::20]),
        compared(f"cosine statistics of {of}", 60, lambda _: statistics(x), lambda _: released_statistics(x), runs),
    ]


def startup(runs: int, seed: int) -> list[dict]:
    """The command line beside numpy's import, each in fresh processes."""

    def started(*words: str) -> list[float]:
        command = [sys.executable, *words]
        return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), runs)

    numpy = started("-c", "import numpy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npy"
        np.save(path, np.stack(pairs(1000, seed)))
        measuring = started("-m", "util", "measure", str(path))
    return [
        row("modality-gap --help, beside import numpy", 0.1, started("-m", "util", "--help"), numpy),
        row(f"modality-gap measure of 1000 x {WIDTH} pairs, the same", 0.07, measuring, numpy),
    ]


def measures(settings: frame.Settings) -> dict[str, list[dict]]:
    """Startup, measures and the loss, with memory."""
    n, batch, many = settings.size(5000, 500), settings.size(20_000, 2000), settings.size(50_000, 2000)
    few, some, large = (pairs(count, settings.seed) for count in (2000, n, batch))
    most = pairs(many, settings.seed)[:1]
    tasks = {
        f"cosine statistics of {n} x {WIDTH}": (statistics, few[:1], some[:1]),
        "the same, as released": (released_statistics, few[:1], some[:1]),
        f"cosine statistics of {many} x {WIDTH} (bar 100)": (statistics, few[:1], most),
        "their mean alone (bar 100)": (geometry.mean_cosine, few[:1], most),
        f"the sweep over one batch of {batch}": (sweep, few, large),
    }
    rows = [*speed(*some, settings.runs), *startup(settings.runs, settings.seed)]
    memory = [fact(what, frame.in_fresh_process(*task)[0], "growth_mb") for what, task in tasks.items()]
    return {"": rows, "memory": memory}


def cone(settings: frame.Settings) -> dict[str, list[dict]]:
    """Five activations with bias, both with layers of their own, then encoding, with the least cosine to the loop's."""
    layers = settings.size(25, 2)
    (networks,) = (step.load().random_networks for step in STEPS if step.name == "depth")

    def ours(_):
        curves = networks.mean_cosine_by_depth(tuple(PLAIN), [True], layers=layers).values()
        return [networks.with_self_pairs(curve[1:], 1024) for curve in curves]

    def theirs(_):
        return [released.depth_curve(activation, layers) for activation in PLAIN.values()]

    pair = Named.parse("ViT-B-32-quickgelu").pair(settings.seed, "cpu")
    rng = np.random.default_rng(settings.seed)
    images = [Image.fromarray(rng.integers(0, 256, (427, 640, 3), np.uint8)) for _ in range(settings.size(64, 2))]
    captions = list(pictures.scenes(settings.size(128, 8), settings.seed).captions)
    rows, facts = [], []
    for modality, wanted, inputs, tower, whole in (
        ("image", 2, images, pair.non_text, pair.model.encode_image),
        ("text", 4, captions, pair.text, pair.model.encode_text),
    ):
        mine, dtype = seconds(partial(tower.encode, inputs), settings.runs), tower.settings["dtype"]
        for batch in (1, 64):
            loop = partial(released.encode_loop, whole, inputs, tower.prepare, batch)
            what = f"ViT-B/32, {len(inputs)} {modality}s, {dtype}, against the float32 loop in batches of {batch}"
            rows.append(row(what, wanted, mine, seconds(loop, settings.runs)))
        least = (tower.encode(inputs) * loop()).sum(1).min()
        facts.append(fact(f"least cosine to the loop's embeddings, {modality}s, {dtype}", least))
    length = pair.text.lengths(pair.text.prepare(captions)).float().mean()
    facts.append(fact("mean length of a caption in tokens, of 77", length))
    what = f"Figure 2 (b): five activations, one seed, {layers} layers"
    return {"": [compared(what, 10, ours, theirs, settings.runs, atol=0.15), *rows], "facts": facts}


def zero_shot(settings: frame.Settings) -> dict[str, list[dict]]:
    """Classification and retrieval at all shifts."""
    n, classes, queries = settings.size(10_000, 500), settings.size(100, 20), settings.size(5000, 200)
    x, y = pairs(n, settings.seed)
    y, labels = y[:classes].copy(), np.arange(n) % classes
    by_class, starts = np.argsort(labels), np.searchsorted(np.sort(labels), np.arange(classes))
    both = pairs(queries, settings.seed)

    def classified(shifts):
        ranks = class_ranks(x, y, labels, shifts)
        np.add.reduceat(ranks[:, by_class] < 1, starts, axis=1, dtype=np.int64)  # hits of each class
        return np.stack([(ranks < k).mean(1) for k in KS[:2]])

    def retrieved(shifts):
        found = retrieve(*both, np.arange(queries), shifts)
        return np.stack([[(ranks < k).mean(1) for k in KS] for ranks in found])

    tasks = {
        f"classification, {n} images x {classes} classes": (classified, partial(released.classification, x, y, labels)),
        f"retrieval both ways, {queries} x {queries}": (retrieved, partial(released.retrieval, *both)),
    }
    every = (settings.runs, SHIFTS[::10], 2e-3)
    return {"": [compared(f"{what} x {len(SHIFTS)} shifts", 40, *each, *every) for what, each in tasks.items()]}


PARTS = {
    "benchmarks": ("Speed and memory beside the procedures as released", measures),
    "cone": ("Figure 2: speed", cone),
    "zero_shot": ("Table 1: speed", zero_shot),
}


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    only: tuple[Literal["benchmarks", "cone", "zero_shot"], ...] = tuple(PARTS)
    """What is measured, with a record each."""


def main(settings: Settings) -> None:
    """A record of each part."""
    for name in settings.only:
        frame.publish(settings, name, *PARTS[name])


if __name__ == "__main__":
    cli.main(frame.presets(Settings), main, __doc__)
