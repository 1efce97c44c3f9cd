"""How often the 95% intervals of the card hold the number of the population, by simulation: 93 to 97% is right.

400 pairs in 6 columns are drawn anew each time. What follows from sums has its true value from 1.2 million pairs, what
needs rows its mean over all draws, whose bias is far below its spread. Chance moves a share of 1000 by 1.4 points.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from unittest.mock import patch

import numpy as np

import frame
from util import Embeddings, cli
from util.measures import CARD, compare, measure, of_rows

N, MANY = 400, 1_200_000
OF_SUMS = tuple(each for each, entry in CARD.items() if "rows" not in entry["needs"])
PAIRED = ("gap_distance", "mean_cosine", "effective_rank", "matched_cosine", "relative_gap", "cka")


def draw(seed: list[int], n: int = N, noise: float = 0.7) -> Embeddings:
    """n pairs: two views of an item in a cone, with a gap."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 6)) * [1.5, 1.2, 1, 1, 0.8, 0.6] + [0, 0, 1.2, 0.5, 1, 0]
    views, apart = shared + noise * rng.normal(size=(2, n, 6)), np.array([0.8, 0.4, 0.2, 0, 0, 0.1])
    both = {"image": views[0] * [1, 1, 1, 1, 1, 0.7] + apart, "text": views[1] * [1, 0.8, 1, 1.2, 1, 1] - apart}
    return Embeddings.of(both, unit=False)


@patch.object(of_rows, "PERMUTATIONS", 1)  # nulls are not asked for here
def numbers(seed: list[int], n: int = N, only: tuple[str, ...] = ()) -> dict[str, tuple]:
    """Value and limits of every number, and of differences of two models on the same items, by name."""
    options = {"seed": seed[-1], "intervals": n == N}
    one = measure(draw(seed, n), only=only, **options)
    other = measure(draw(seed, n, noise=0.5), only=PAIRED, **options)
    found = {name(row): (row["value"], row["low"], row["high"]) for row in one.rows}
    for row in compare({"one": one, "other": other}, same_items=True).to_dict("records"):
        if row["model"] == "other" and row["measure"] in PAIRED:
            found[f"{name(row)}, paired difference"] = row["difference"], row["low"], row["high"]
    return found


def name(row) -> str:
    """A measure, and the modality where both have one."""
    return row["measure"] + ("" if CARD[row["measure"]]["of"] == "two" else f" of {row['first']}")


def measured(settings: frame.Settings) -> dict[str, list[dict]]:
    """A row for every number."""
    seeds = [[settings.seed, 1, run] for run in range(settings.size(1000, 4))]
    population = numbers([settings.seed, 0], settings.size(MANY, 20_000), OF_SUMS)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        runs = [*pool.map(numbers, seeds)]
    rows = []
    for each in (each for each, (_, low, _) in runs[0].items() if low is not None):
        values, low, high = np.array([run[each] for run in runs if run[each][1] is not None], float).T
        true = population[each][0] if each in population else values.mean()
        row = {"what": each, "true": true, "mean": values.mean(), "spread": values.std(), "width": (high - low).mean()}
        rows.append(row | {"covered": ((low <= true) & (true <= high)).mean(), "draws": len(values)})
        cli.say(f"{each}: {rows[-1]['covered']:.3f} of {len(values)}")
    return {"": rows}


if __name__ == "__main__":
    frame.main("intervals", "How often 95% intervals of the card hold the number of the population", measured, __doc__)
