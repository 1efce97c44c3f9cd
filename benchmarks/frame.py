"""The frame of all benchmarks: inputs, medians, ratios, memory of a fresh process, and the record of a run.

Times are medians of several runs after one that compiles. Memory is the growth of the resident set of a fresh process
at its peak, as Linux counts it. Results go to outputs/benchmarks/.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from util import cli
from util.geometry import unit_rows

SHIFTS, LOGIT_SCALES = np.arange(-5, 5, 0.25), (100, 50, 30, 20, 10, 1)
TEMPERATURES = tuple(1 / k for k in LOGIT_SCALES)
WIDTH = 512


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "benchmarks"
    repeats: int = 5
    """Runs of ours; the released procedures run once, or on single points, as each row says."""


def main(name: str, title: str, presets: Mapping, measure: Callable, doc: str) -> None:
    """Runs ``measure(settings, device)``, which gives the tables by name, and records them."""

    def measured(settings, device: str) -> cli.Measured:
        tables = {what: pd.DataFrame(rows) for what, rows in measure(settings, device).items()}
        data = [{"data": "generated here", "seed": settings.seed}]
        return cli.Measured(tables=tables, data=data, dtype="float32 rows, float64 sums")

    cli.main(presets, lambda s: cli.publish_run(name, s, measured, {}, title=title, captions={}), doc)


def pairs(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n matched pairs of float32 unit rows with a gap of about 0.8."""
    rng = np.random.default_rng(seed)
    shared, offset = rng.normal(size=(n, d)), rng.normal(size=d)
    x, y = (shared + 0.7 * rng.normal(size=(n, d)) + side * 0.65 * offset for side in (1, -1))
    return unit_rows(x.astype(np.float32)), unit_rows(y.astype(np.float32))


def seconds(work: Callable, repeats: int) -> list[float]:
    """Seconds of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def row(what: str, wanted: float, ours: Sequence[float], theirs: Sequence[float], times: int = 1) -> dict:
    """One comparison, said and recorded; ``times`` is how often the released step that was timed would have run."""
    mine, released = float(np.median(ours)), float(np.median(theirs)) * times
    cli.say(f"{what}: {mine:.3f} s against {released:.2f} s: {released / mine:.1f} times")
    return {
        "what": what,
        "ours_seconds": mine,
        "ours_spread": max(ours) - min(ours),
        "released_seconds": released,
        "ratio": released / mine,
        "wanted_ratio": wanted,
    }


def fact(what: str, value: float, column: str = "value") -> dict:
    """One number, said and recorded."""
    cli.say(f"{what}: {value:.6g}")
    return {"what": what, column: value}


def in_fresh_process(task: Callable, *arguments) -> tuple[float, float]:
    """MB by which memory grows at its peak, beyond the results, and seconds.

    ``task(*arguments)`` makes the inputs, does a small run, and gives back the work, which returns the bytes of its
    results or None.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_watched, task, arguments).result()


def _watched(task: Callable, arguments: tuple) -> tuple[float, float]:
    work = task(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, start = memory_kb("VmRSS"), time.perf_counter()
    results = work() or 0
    took = time.perf_counter() - start
    return (memory_kb("VmHWM") - before) / 1024 - results / 2**20, took


def memory_kb(line: str) -> int:
    """Memory of this process as Linux counts it: VmRSS now, VmHWM at the peak, RssAnon without mapped files."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(f"{line}:") + 1])
