"""The card's speed and memory: sums of files of any size, measures beside the published ways, panels of Figure 1.

The arrays take 4.1 GB of disk, and as many as a table.
"""

import tempfile
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import frame
from frame import WIDTH, fact, pairs, row, seconds
from util import Embeddings
from util.measures import measure as card
from util.measures import of_rows
from util.measures.sums import sums
from util.numerics.arrays import Parts
from util.numerics.reduction import umap_coordinates

PART = 10_000
NAMES = ("image_embeds", "text_embeds")


def written(folder: str, n: int) -> tuple[Path, Path]:
    """The same pairs again and again, up to n, as a .npy and as a .parquet file."""
    paths, some = [Path(folder) / f"{n}.{suffix}" for suffix in ("npy", "parquet")], min(n, PART)
    both = pairs(some, 0)
    array = np.lib.format.open_memmap(paths[0], "w+", np.float32, (2, n, WIDTH))
    table = pa.table([pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), WIDTH) for part in both], NAMES)
    with pq.ParquetWriter(paths[1], table.schema) as writer:
        for start in range(0, n, some):
            array[:, start : start + some] = both
            writer.write_table(table)
    array.flush()
    return tuple(paths)


def pass_over(path: Path, second: bool) -> None:
    """Sums of a file."""
    sums(Embeddings.load(path, unit=False), second)


def generated(n: int) -> None:
    """Sums of n pairs in parts that are made when they are read."""
    lengths, both = [PART] * (n // PART), zip(NAMES, pairs(PART, 0), strict=True)
    sums(Embeddings({name: Parts(partial(np.add, part), lengths, WIDTH, np.float32) for name, part in both}), False)


def plain(path: Path, products: bool) -> None:
    """Every byte once, or the three d x d products of second moments in float64."""
    array = np.load(path, mmap_mode="r")
    for start in range(0, array.shape[1], 1024):
        block = array[:, start : start + 1024]
        for a, b in combinations_with_replacement(block.astype(np.float64), 2) if products else ():
            a.T @ b
        block.sum()


def quadratic_gap(x: torch.Tensor, y: torch.Tensor) -> float:
    """The relative gap as published: all cosines within each modality in a matrix."""
    within = [(part @ part.T).fill_diagonal_(0).sum() / (len(x) * (len(x) - 1)) for part in (x, y)]
    matched, *spread = ((1 - cosine) / 2 for cosine in ((x * y).sum(1).mean(), *within))
    return float(matched / (matched + sum(spread) / 2))


def matrix_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased CKA as published: three HSIC of n x n matrices, each with their product."""

    def hsic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        n = len(a)
        return (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a @ b).sum() / (n - 2)

    one, other = ((part @ part.T).fill_diagonal_(0) for part in (x, y))
    return float(hsic(one, other) / (hsic(one, one) * hsic(other, other)) ** 0.5)


def beside_published(settings: frame.Settings) -> list[dict]:
    """RMG and CKA of 20,000 pairs."""
    n, some, found = settings.size(20_000, 400), settings.size(10_000, 400), []
    for name, theirs, few, wanted in (("relative_gap", quadratic_gap, n, 100), ("cka", matrix_cka, some, 50)):
        arrays = pairs(n, 1)
        less, said = [part[:few] for part in arrays], "" if few == n else f" (released: {few}, times {(n // few) ** 2})"
        mine = seconds(lambda x=arrays, m=name: card(*x, only=[m], intervals=False), settings.runs)
        took = seconds(lambda x=less, f=theirs: f(*map(torch.from_numpy, x)))
        found.append(row(f"{name} of {n} pairs{said}", wanted, mine, took, (n // few) ** 2))
        value = card(*less, only=[name], intervals=False)[name]
        np.testing.assert_allclose(value, theirs(*map(torch.from_numpy, less)), atol=1e-3)
    return found


def neighbours(settings: frame.Settings) -> float:
    """How often the time of bare products is that of mutual neighbours and hubness."""
    x, y = pairs(settings.size(50_000, 500), 2)
    three = ((x, x), (y, y), (x, y))
    searched = seconds(lambda: [of_rows.nearest(a, b, itself=a is b) for a, b in three])[0]
    return searched / seconds(lambda: [None for a, b in three for _ in of_rows.cosines(a, b)])[0]


def panels(count: int) -> None:
    """Cards and UMAP of some panels of 500 pairs."""
    for seed in range(count):
        x, y = pairs(500, seed)
        card({"image": x, "text": y})
        umap_coordinates(np.concatenate([x, y]))


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """Facts, and ratios to the published ways."""
    n, most, count = settings.size(1_000_000, 20_000), settings.size(10_000_000, 20_000), settings.size(8, 1)
    with tempfile.TemporaryDirectory() as folder:
        (small, _), (large, table) = written(folder, PART), written(folder, n)
        plain(large, False)
        reading, products = (seconds(lambda p=each: plain(large, p))[0] for each in (False, True))
        first, second = (seconds(lambda s=each: pass_over(large, s))[0] for each in (False, True))
        short, of_table = seconds(lambda: pass_over(small, False))[0], seconds(lambda: pass_over(table, True))[0]
        grown, _ = frame.in_fresh_process(pass_over, (small, False), (large, True))
    more, longest = frame.in_fresh_process(generated, (PART,), (most,))
    x, y = pairs(settings.size(5000, 200), 3)
    panels(1)  # compiles
    facts = {
        f"second moments of {n} x {WIDTH} pairs, beside reading or products (bar 2)": second / max(reading, products),
        "sums without second moments, beside reading (bar 8)": first / reading,
        f"the same, a row beside one of {PART} (1: linear)": first / n / (short / PART),
        f"the same of {most} generated rows, beside one of {n}": longest / most / (first / n),
        f"memory of {most} generated rows, MB (bar 1000)": more,
        "second moments, memory beyond the mapped file, MB (bar 1000)": grown,
        "second moments of a .parquet file, beside the same .npy (bar 1.5)": of_table / second,
        "mutual neighbours and hubness, beside bare products (bar 1.5)": neighbours(settings),
        f"the card of {len(x)} x {WIDTH} pairs, seconds (bar 3)": float(np.median(seconds(lambda: card(x, y), 3))),
        f"{count} panels of 500 pairs, cards and UMAP, seconds (bar 60 for 8)": seconds(lambda: panels(count))[0],
    }
    return {"": beside_published(settings), "facts": [fact(*each) for each in facts.items()]}


if __name__ == "__main__":
    frame.main("gap", "The card: speed and memory", measure, __doc__)
