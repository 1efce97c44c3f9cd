"""Startup, measures and the loss beside the procedures as released, as ratios measured in one run."""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import frame
import released
from frame import LOGIT_SCALES, SHIFTS, TEMPERATURES, WIDTH, compared, fact, pairs, row, seconds
from util import contrastive, geometry


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


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """All rows and memory facts."""
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


if __name__ == "__main__":
    frame.main("benchmarks", "Speed and memory beside the procedures as released", measure, __doc__)
