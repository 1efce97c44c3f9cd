"""Figure 1's speed and memory: the numbers of two arrays of a million rows, and eight panels of 500 pairs.

    python benchmarks/gap.py                     (about 4 minutes on 2 cores, 4.1 GB of disk for the arrays)
    python benchmarks/gap.py --preset smoke      (small, to try it out)

The numbers are also compared with the direct way, one matrix of all cosines, where that fits into memory. Results go to
outputs/benchmarks/.
"""

import multiprocessing
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import pairs, row, seconds
from util import Embeddings, cli, files, records
from util.embeddings import Stored
from util.measures import measure
from util.numerics.moments import pair_moments
from util.numerics.reduction import umap_coordinates

WIDTH, CHUNK = 512, 50_000


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "benchmarks"
    rows: int = 1_000_000
    """Rows of each modality in the large file."""
    direct: int = 5000
    """Rows of each modality for the direct way."""
    panels: int = 8
    """Panels of 500 pairs."""
    repeats: int = 5
    """Runs of ours beside the direct way."""


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


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind, as Linux counts it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1024


def large(path: Path, found) -> None:
    """In a process of its own: seconds, and the growth of memory beyond the mapped file."""
    measure(Embeddings.of(dict(zip(("image", "text"), pairs(100, WIDTH, 0), strict=True))))  # imports and first calls
    before, most, done = anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    measure(Stored.open(path))
    took = time.perf_counter() - start
    done.set()
    watcher.join()
    found.put((took, most[0] - before))


def direct(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Gap distance, matched cosine and both mean cosines from one matrix of all cosines for each."""
    off = ~np.eye(len(x), dtype=bool)
    within = [float((part @ part.T)[off].mean()) for part in (x, y)]
    return float(np.linalg.norm(x.mean(0) - y.mean(0))), float(np.diag(x @ y.T).mean()), *within


def panels(count: int, seed: int) -> float:
    """Seconds for numbers and UMAP of some panels of 500 pairs, the first call done before."""
    every = [dict(zip(("image", "text"), pairs(500, WIDTH, seed + k), strict=True)) for k in range(count)]
    umap_coordinates(pairs(30, 8, 0)[0])
    start = time.perf_counter()
    for arrays in every:
        measure(Embeddings.of(arrays))
        umap_coordinates(np.concatenate(list(arrays.values())), seed)
    return time.perf_counter() - start


def main(settings: Settings) -> None:
    """Runs everything, prints a table, writes the record."""
    start = time.perf_counter()
    x, y = pairs(settings.direct, WIDTH, settings.seed)
    rows = np.tile(np.arange(len(x))[:, None], 2)
    mine = seconds(lambda: pair_moments(x, y, rows), settings.repeats)
    theirs = seconds(lambda: direct(x, y), 1)
    what = f"gap, matched and mean cosines of {settings.direct} x {WIDTH} pairs, beside a matrix of all cosines"
    table = pd.DataFrame([row(what, 1, mine, theirs)])
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "large.npy", settings.rows, settings.seed)
        context = multiprocessing.get_context("spawn")
        found = context.Queue()
        process = context.Process(target=large, args=(Path(folder) / "large.npy", found))
        process.start()
        took, grown = found.get()
        process.join()
    facts = [
        (f"all numbers of {settings.rows} x {WIDTH} pairs, seconds (bar 30)", took),
        ("the same, memory beyond the mapped file, MB (bar 1000)", grown),
        (
            f"{settings.panels} panels of 500 pairs, numbers and UMAP, seconds (bar 60 for 8)",
            panels(settings.panels, 0),
        ),
    ]
    facts = pd.DataFrame(facts, columns=["what", "value"])
    print(table[["what", "ratio"]].to_string(index=False), facts.to_string(index=False), sep="\n")
    with files.publishing(settings.output) as folder:
        records.save(
            folder,
            "gap",
            {"": table, "facts": facts},
            settings=settings,
            seconds=time.perf_counter() - start,
            device="cpu",
            dtype="float32 rows, float64 sums",
            data=[{"data": "random rows with a gap", "seed": settings.seed}],
            title="Figure 1: speed and memory",
        )
    print(f"wrote {settings.output}/gap.csv")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
