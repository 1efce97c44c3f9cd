"""The card's speed and memory: sums of files of any size, measures beside the published ways, and panels of Figure 1.

The arrays take 4.1 GB of disk, and as many as a table.
"""

import tempfile
from functools import partial
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
from util.numerics.parts import Parts
from util.numerics.reduction import umap_coordinates

PART = 10_000


def write(path: Path, n: int) -> Path:
    """The same pairs again and again, up to n, as a file of embeddings."""
    both = np.stack(pairs(min(n, PART), 0))
    array = np.lib.format.open_memmap(path, "w+", np.float32, (2, n, WIDTH))
    for start in range(0, n, PART):
        array[:, start : start + PART] = both[:, : n - start]
    array.flush()
    return path


def as_table(path: Path, n: int) -> Path:
    """The same rows as a .parquet file."""
    both = pairs(min(n, PART), 0)
    lists = [pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), WIDTH) for part in both]
    table = pa.table(dict(zip(("image_embeds", "text_embeds"), lists, strict=True)))
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(n // len(both[0])):
            writer.write_table(table)
    return path


def generated(n: int) -> None:
    """Sums of n pairs in parts that are made when they are read."""
    rows = {
        name: Parts(partial(np.add, part), [PART] * (n // PART), WIDTH, np.float32)
        for name, part in zip(("image", "text"), pairs(PART, 0), strict=True)
    }
    sums(Embeddings(rows), False)


def pass_over(path: Path, second: bool) -> None:
    """Sums of a mapped file."""
    sums(Embeddings.load(path, unit=False), second)


def read(path: Path) -> None:
    """Every byte once."""
    array = np.load(path, mmap_mode="r")
    for start in range(0, array.shape[1], 1024):
        array[:, start : start + 1024].sum()


def products(path: Path) -> None:
    """The three d x d products of second moments, in float64."""
    array = np.load(path, mmap_mode="r")
    for start in range(0, array.shape[1], 1024):
        x, y = array[:, start : start + 1024].astype(np.float64)
        for a, b in ((x, x), (y, y), (x, y)):
            a.T @ b


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
    """RMG and CKA of 20,000 pairs, and what needs rows of 50,000 beside the bare products."""
    n, some = settings.size(20_000, 400), settings.size(10_000, 400)
    x, y = pairs(n, 1)
    tensors, few = ([torch.from_numpy(part[:k]) for part in (x, y)] for k in (n, some))
    one = partial(card, x, y, intervals=False)
    found = [
        row(f"relative gap of {n} pairs", 100, seconds(lambda: one(only=["relative_gap"]), settings.runs),
            seconds(lambda: quadratic_gap(*tensors))),
        row(f"unbiased CKA of {n} pairs (released: {some}, times {(n // some) ** 2})", 50,
            seconds(lambda: one(only=["cka"]), settings.runs), seconds(lambda: matrix_cka(*few)), (n // some) ** 2),
    ]  # fmt: skip
    np.testing.assert_allclose(one(only=["relative_gap"])["relative_gap"], quadratic_gap(*tensors), atol=1e-5)
    np.testing.assert_allclose(card(*few, intervals=False, only=["cka"])["cka"], matrix_cka(*few), atol=1e-3)
    return found


def neighbours(settings: frame.Settings) -> float:
    """How often the time of bare products is that of mutual neighbours and hubness."""
    x, y = (torch.from_numpy(part) for part in pairs(settings.size(50_000, 500), 2))

    def bare() -> None:
        for a, b in ((x, x), (y, y), (x, y)):
            for _, block in of_rows.cosines(a, b):
                del block

    def searched() -> None:
        for a, b in ((x, x), (y, y), (x, y)):
            of_rows.nearest(a, b, itself=a is b)

    return seconds(searched)[0] / seconds(bare)[0]


def panels(count: int) -> None:
    """Numbers and UMAP of some panels of 500 pairs."""
    for seed in range(count):
        x, y = pairs(500, seed)
        card(Embeddings.of({"image": x, "text": y}))
        umap_coordinates(np.concatenate([x, y]))


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """Facts, and ratios to the published ways."""
    n, count, few = settings.size(1_000_000, 20_000), settings.size(8, 1), settings.size(10_000, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (write(Path(folder) / f"{rows}.npy", rows) for rows in (few, n))
        table = as_table(Path(folder) / "large.parquet", n)
        read(large)
        took = {second: seconds(lambda s=second: pass_over(large, s))[0] for second in (True, False)}
        reading, bare = seconds(lambda: read(large))[0], seconds(lambda: products(large))[0]
        short, of_table = seconds(lambda: pass_over(small, False))[0], seconds(lambda: pass_over(table, True))[0]
        grown, _ = frame.in_fresh_process(pass_over, (small, False), (large, True))
    most = settings.size(10_000_000, 20_000)
    more, longest = frame.in_fresh_process(generated, (PART,), (most,))
    x, y = pairs(settings.size(5000, 200), 3)
    panels(1)  # compiles
    facts = [
        fact(
            f"second moments of {n} x {WIDTH} pairs beside reading or products (bar 2)", took[True] / max(reading, bare)
        ),
        fact("sums without second moments, beside reading (bar 8)", took[False] / reading),
        fact(f"the same, a row beside one of {few} (1 is linear)", took[False] / n / (short / few)),
        fact(f"a row of {most} generated ones beside one of {n}", longest / most / (took[False] / n)),
        fact("the same, memory, MB (bar 1000)", more),
        fact("second moments, memory beyond the mapped file, MB (bar 1000)", grown),
        fact("a .parquet file beside the same .npy, second moments (bar 1.5)", of_table / took[True]),
        fact("mutual neighbours and hubness beside bare products (bar 1.5)", neighbours(settings)),
        fact(
            f"the card of {len(x)} x {WIDTH} pairs, seconds (bar 3)", float(np.median(seconds(lambda: card(x, y), 3)))
        ),
        fact(f"{count} panels of 500 pairs, cards and UMAP, seconds (bar 60 for 8)", seconds(lambda: panels(count))[0]),
    ]
    return {"": beside_published(settings), "facts": facts}


if __name__ == "__main__":
    frame.main("gap", "The card: speed and memory", measure, __doc__)
