"""Figure 1's speed and memory: the numbers of two arrays of a million rows, and eight panels of 500 pairs.

The arrays take 4.1 GB of disk.
"""

import tempfile
from pathlib import Path

import numpy as np

import frame
from frame import WIDTH, fact, pairs, seconds
from util import Embeddings, measures
from util.numerics.reduction import umap_coordinates


def write(path: Path, n: int, part: int = 10_000) -> Path:
    """The same pairs again and again, up to n, as a file of embeddings."""
    both = np.stack(pairs(min(n, part), 0))
    array = np.lib.format.open_memmap(path, "w+", np.float32, (2, n, WIDTH))
    for start in range(0, n, part):
        array[:, start : start + part] = both
    array.flush()
    return path


def numbers_of_file(path: Path) -> None:
    """All numbers of a mapped file."""
    measures.measure(Embeddings.load(path, unit=False))


def panels(count: int) -> None:
    """Numbers and UMAP of some panels of 500 pairs."""
    for seed in range(count):
        x, y = pairs(500, seed)
        measures.measure(Embeddings.of({"image": x, "text": y}))
        umap_coordinates(np.concatenate([x, y]))


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """Facts."""
    n, count = settings.size(1_000_000, 20_000), settings.size(8, 1)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (write(Path(folder) / f"{rows}.npy", rows) for rows in (100, n))
        grown, took = frame.in_fresh_process(numbers_of_file, (small,), (large,))
    panels(1)  # compiles
    facts = {
        f"all numbers of {n} x {WIDTH} pairs, seconds (bar 30)": took,
        "the same, memory beyond the mapped file, MB (bar 1000)": grown,
        f"{count} panels of 500 pairs, numbers and UMAP, seconds (bar 60 for 8)": seconds(lambda: panels(count))[0],
    }
    return {"facts": [fact(what, value) for what, value in facts.items()]}


if __name__ == "__main__":
    frame.main("gap", "Figure 1: speed and memory", measure, __doc__)
