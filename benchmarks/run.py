"""Speed and memory beside the procedure as released, as ratios measured in one run.

    make bench                                 (about 6 minutes on 2 cores)
    python benchmarks/run.py --preset smoke    (a tenth of the size, to try it out)

Inputs are random unit rows with a gap. The direct way over one batch is timed on single (shift, temperature) points.
"""

import numpy as np

import frame
import released
from frame import LOGIT_SCALES, SHIFTS, TEMPERATURES, WIDTH, fact, pairs, row, seconds
from util import contrastive, geometry

Settings = frame.Settings
PRESETS = {"embedded": Settings(), "paper": Settings(preset="paper"), "smoke": Settings(preset="smoke", repeats=1)}


def batched_sweep(x, y, repeats: int) -> dict:
    """40 shifts x 6 temperatures in batches of 50, with the signed gap distances."""

    def ours():
        return contrastive.sweep(x, y, SHIFTS, TEMPERATURES, 50), geometry.signed_gap_distances(x, y, SHIFTS)

    exact = released.loss_landscape(x, y, SHIFTS[::13], LOGIT_SCALES)[0]
    check = contrastive.sweep(x, y, SHIFTS[::13], TEMPERATURES, 50, released=True)
    assert np.allclose(check, exact, rtol=1e-3), "the two procedures disagree"
    what = f"40 shifts x 6 temperatures, {len(x)} x {WIDTH} pairs, batches of 50"
    theirs = seconds(lambda: released.loss_landscape(x, y, SHIFTS, LOGIT_SCALES), 1)
    return row(what, 80, seconds(ours, repeats), theirs)


def whole_sweep(x, y, repeats: int) -> dict:
    """The same over all pairs as one batch."""
    ours = seconds(lambda: contrastive.sweep(x, y, SHIFTS, TEMPERATURES), max(1, repeats - 2))
    points = [(shift, scale) for shift in SHIFTS[::8] for scale in LOGIT_SCALES[::2]]
    each = [seconds(lambda p=point: released.full_batch_loss(x, y, *p), 1)[0] for point in points]
    what = f"the same over one batch of {len(x)} (direct way: {len(points)} points timed, times 240 / {len(points)})"
    return row(what, 15, ours, [float(np.mean(each))], times=240)


def statistics(x, repeats: int) -> dict:
    """All pair cosines of one modality."""
    ours = seconds(lambda: geometry.cosine_statistics(x, 1000), repeats)
    theirs = seconds(lambda: released.cosine_statistics(x), 1)
    return row(f"cosine statistics of {len(x)} x {WIDTH}", 60, ours, theirs)


def _ours(n: int, seed: int):
    x, few = pairs(n, WIDTH, seed)[0], pairs(200, WIDTH, seed)[0]
    geometry.cosine_statistics(few, 1000)
    return lambda: geometry.cosine_statistics(x, 1000) and None


def _released(n: int, seed: int):
    x, few = pairs(n, WIDTH, seed)[0], pairs(200, WIDTH, seed)[0]
    released.cosine_statistics(few)
    return lambda: released.cosine_statistics(x) and None


def _sweep(n: int, seed: int):
    both = pairs(n, WIDTH, seed)
    contrastive.sweep(*pairs(200, WIDTH, seed), SHIFTS, TEMPERATURES)
    return lambda: contrastive.sweep(*both, SHIFTS, TEMPERATURES).nbytes


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """All rows and memory facts."""
    n, large = (500, 2000) if settings.preset == "smoke" else (5000, 20_000)
    x, y = pairs(n, WIDTH, settings.seed)
    contrastive.sweep(x[:100], y[:100], SHIFTS, TEMPERATURES, 50)  # compiles
    geometry.cosine_statistics(x[:100])
    rows = [batched_sweep(x, y, settings.repeats), whole_sweep(x, y, settings.repeats), statistics(x, settings.repeats)]
    tasks = {
        f"cosine statistics of {n} x {WIDTH}": (_ours, n),
        "the same, as released": (_released, n),
        f"the sweep over one batch of {large}": (_sweep, large),
    }
    memory = []
    for what, (task, size) in tasks.items():
        memory.append(fact(what, frame.in_fresh_process(task, size, settings.seed)[0], "growth_mb"))
    return {"": rows, "memory": memory}


if __name__ == "__main__":
    frame.main("benchmarks", "Speed and memory beside the procedures as released", PRESETS, measure, __doc__)
