"""Figure 1's speed and memory: the numbers of two arrays of a million rows, and eight panels of 500 pairs.

    python benchmarks/gap.py                     (about 4 minutes on 2 cores, 4.1 GB of disk for the arrays)
    python benchmarks/gap.py --preset smoke      (small, to try it out)

The numbers are also compared with the direct way, one matrix of all cosines, where that fits into memory.
"""

import multiprocessing
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import frame
from frame import WIDTH, fact, memory_kb, pairs, row, seconds
from util import Embeddings
from util.embeddings import Stored
from util.measures import measure as measure_pair
from util.numerics.moments import pair_moments
from util.numerics.reduction import umap_coordinates

CHUNK = 50_000


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    rows: int = 1_000_000
    """Rows of each modality in the large file."""
    direct: int = 5000
    """Rows of each modality for the direct way."""
    panels: int = 8
    """Panels of 500 pairs."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", rows=20_000, direct=500, panels=1, repeats=1),
}


def write(path: Path, rows: int, seed: int) -> None:
    """Two modalities with a gap, paired row by row, made and written a part at a time."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (2, rows, WIDTH))
    rng, offset = np.random.default_rng(seed), np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    for start in range(0, rows, CHUNK):
        shared = rng.standard_normal((min(CHUNK, rows - start), WIDTH), dtype=np.float32)
        for side, sign in enumerate((1, -1)):
            part = shared + 0.7 * rng.standard_normal(shared.shape, dtype=np.float32) + sign * 0.65 * offset
            array[side, start : start + len(part)] = part
    array.flush()


def embeddings(count: int, seed: int) -> Embeddings:
    """Random pairs with a gap."""
    return Embeddings.of(dict(zip(("image", "text"), pairs(count, WIDTH, seed), strict=True)))


def large(path: Path) -> tuple[float, float]:
    """Seconds, and the growth in MB of memory beyond the mapped file, of this process."""
    measure_pair(embeddings(100, 0))  # imports and first calls
    before, most, done = memory_kb("RssAnon"), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], memory_kb("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    took = seconds(lambda: measure_pair(Stored.open(path)), 1)[0]
    done.set()
    watcher.join()
    return took, (most[0] - before) / 1024


def direct(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Gap distance, matched cosine and both mean cosines from one matrix of all cosines for each."""
    off = ~np.eye(len(x), dtype=bool)
    within = [float((part @ part.T)[off].mean()) for part in (x, y)]
    return float(np.linalg.norm(x.mean(0) - y.mean(0))), float(np.diag(x @ y.T).mean()), *within


def panels(count: int, seed: int) -> float:
    """Seconds for numbers and UMAP of some panels of 500 pairs, the first call done before."""
    every = [embeddings(500, seed + k) for k in range(count)]
    umap_coordinates(pairs(30, 8, 0)[0])

    def work() -> None:
        for each in every:
            measure_pair(each)
            umap_coordinates(np.concatenate(list(each.modalities.values())), seed)

    return seconds(work, 1)[0]


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """The comparison with the direct way, and facts."""
    x, y = pairs(settings.direct, WIDTH, settings.seed)
    rows = np.tile(np.arange(len(x))[:, None], 2)
    what = f"gap, matched and mean cosines of {settings.direct} x {WIDTH} pairs, beside a matrix of all cosines"
    ours = seconds(lambda: pair_moments(x, y, rows), settings.repeats)
    table = [row(what, 1, ours, seconds(lambda: direct(x, y), 1))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        write(path, settings.rows, settings.seed)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            took, grown = pool.submit(large, path).result()
    what = f"{settings.panels} panels of 500 pairs, numbers and UMAP, seconds (bar 60 for 8)"
    facts = [
        fact(f"all numbers of {settings.rows} x {WIDTH} pairs, seconds (bar 30)", took),
        fact("the same, memory beyond the mapped file, MB (bar 1000)", grown),
        fact(what, panels(settings.panels, 0)),
    ]
    return {"": table, "facts": facts}


if __name__ == "__main__":
    frame.main("gap", "Figure 1: speed and memory", PRESETS, measure, __doc__)
