"""The frame of all benchmarks: command line, inputs, medians, ratios, memory of a fresh process, and the record.

Times are medians of several runs after one that compiles. Memory is what a fresh process grows by at its peak, without
files that it maps, as Linux counts it. Results go to outputs/benchmarks/.
"""

import multiprocessing
import os
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from util import cli
from util.geometry import unit_rows

SHIFTS, LOGIT_SCALES = np.arange(-5, 5, 0.25), (100, 50, 30, 20, 10, 1)
TEMPERATURES = tuple(1 / k for k in LOGIT_SCALES)
WIDTH = 512

_large: list = []
"""What the work of a fresh process is to be done on."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "benchmarks"
    device: Literal["cpu"] = "cpu"
    runs: int = 5
    """Runs of ours; the released procedures run once, or at single points, as each row says."""

    def size(self, full: int, smoke: int) -> int:
        """How much of something is measured."""
        return smoke if self.preset == "smoke" else full


def main(name: str, title: str, measure: Callable, doc: str, kind=Settings) -> None:
    """The command line of a benchmark; ``publish`` says of what."""
    cli.main(presets(kind), lambda settings: publish(settings, name, title, measure), doc)


def presets(kind=Settings) -> dict[str, Settings]:
    return {"embedded": kind(), "paper": kind(preset="paper"), "smoke": kind(preset="smoke", runs=1)}


def publish(settings: Settings, name: str, title: str, measure: Callable) -> None:
    """Runs ``measure(settings)``, which gives the tables by name, and records them."""

    def measured(settings: Settings, _: str) -> cli.Measured:
        tables = {what: pd.DataFrame(rows) for what, rows in measure(settings).items()}
        data = [{"data": "generated here", "seed": settings.seed}]
        return cli.Measured(tables=tables, data=data, dtype="float32 rows, float64 sums")

    cli.publish_run(name, settings, measured, {}, title=title, captions={})


def pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n matched pairs of float32 unit rows with a gap of about 0.8."""
    rng = np.random.default_rng(seed)
    shared, offset = rng.normal(size=(n, WIDTH)), rng.normal(size=WIDTH)
    x, y = (shared + 0.7 * rng.normal(size=(n, WIDTH)) + side * 0.65 * offset for side in (1, -1))
    return unit_rows(x.astype(np.float32)), unit_rows(y.astype(np.float32))


def seconds(work: Callable, runs: int = 1) -> list[float]:
    """Seconds of several runs."""
    return timeit.repeat(work, repeat=runs, number=1)


def compared(what: str, wanted: float, ours: Callable, theirs: Callable, runs: int, some=SHIFTS, atol=1e-4) -> dict:
    """Ours at all shifts beside the released procedure at some, once; both must find the same there."""
    found = []
    took = seconds(lambda: found.append(theirs(some)))
    np.testing.assert_allclose(ours(some), found[0], rtol=1e-3, atol=atol)
    if len(some) < len(SHIFTS):
        what += f" (released: {len(some)} shifts timed, times {len(SHIFTS)} / {len(some)})"
    return row(what, wanted, seconds(lambda: ours(SHIFTS), runs), took, len(SHIFTS) / len(some))


def row(what: str, wanted: float, ours: list[float], theirs: list[float], times: float = 1) -> dict:
    """One comparison, said and recorded; ``times`` is how often what was timed of the released one would have run."""
    mine, released = float(np.median(ours)), float(np.median(theirs)) * times
    cli.say(f"{what}: {mine:.3f} s against {released:.2f} s: {released / mine:.1f} times")
    spread = max(ours) - min(ours)
    values = {"ours_seconds": mine, "ours_spread": spread, "released_seconds": released, "ratio": released / mine}
    return {"what": what, **values, "wanted_ratio": wanted}


def fact(what: str, value: float, column: str = "value") -> dict:
    """One number, said and recorded."""
    cli.say(f"{what}: {value:.6g}")
    return {"what": what, column: float(value)}


def in_fresh_process(work: Callable, small: tuple, large: tuple) -> tuple[float, float]:
    """MB by which memory grows at the peak of ``work(*large)``, and its seconds; ``work(*small)`` comes before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare, (work, small, large)) as pool:
        process = pool.submit(os.getpid).result()
        before = most = _megabytes(process)
        took = pool.submit(_seconds, work)
        while not took.done():
            most = max(most, _megabytes(process))
            time.sleep(0.002)
        return most - before, took.result()


def _prepare(work: Callable, small: tuple, large: tuple) -> None:
    work(*small)
    _large.extend(large)


def _seconds(work: Callable) -> float:
    return seconds(lambda: work(*_large))[0]


def _megabytes(process: int) -> float:
    words = Path(f"/proc/{process}/status").read_text().split()
    return int(words[words.index("RssAnon:") + 1]) / 1024
