"""A training step of the embedded small CLIP beside its bare forward and backward pass, as ratios of one run.

    python benchmarks/training.py                  (about 2 minutes on 2 cores)
    python benchmarks/training.py --preset smoke   (small, to try it out)

Turns of a few steps alternate: ``util.training.train`` as it is used (batches made beside it, loss, clipping, AdamW,
log), and on batches made before, first the bare forward pass of both towers with InfoNCE and its backward pass, then
the same with an optimiser step. Ratios are medians over the turns, with one CPU thread and with all. Several threads
wait for one another by spinning, so on a machine that is shared only the row of one thread says anything.
"""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from open_clip.loss import ClipLoss

import frame
from frame import fact, seconds
from util import cli
from util.encoders import small_clip
from util.encoders.small_clip_training import corpus_pairs
from util.training import TrainingSettings, batches, embed, optimizer_for, train

WANTED_RATIO = 1.3
"""Most that a step may cost, in bare forward and backward passes."""


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    turns: int = 7
    """Turns of each kind, alternating; one more of each is done first and not counted."""
    steps: int = 5
    """Steps in a turn."""
    batch: int = 256
    """Pairs in a step."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", turns=2, steps=2, batch=32),
}


def bare(model, prepared: list, optimizer: torch.optim.Optimizer | None) -> None:
    """Forward and backward passes of batches that are there, with or without an optimiser's step."""
    loss, scale = ClipLoss(), torch.tensor(100.0)
    for images, tokens in prepared:
        model.zero_grad(set_to_none=True)
        loss(*embed(model, images, tokens), scale).backward()
        if optimizer:
            optimizer.step()


def seconds_waited(coming) -> list[float]:
    """How long each batch is waited for when the step takes 0.1 s: what the loop would wait for its data."""
    waited = []
    while True:
        start = time.perf_counter()
        if next(coming, None) is None:
            return waited
        waited.append(time.perf_counter() - start)
        time.sleep(0.1)


def turns_of(settings: Settings, threads: int) -> tuple[pd.DataFrame, list[float]]:
    """Milliseconds a step in every turn, a column for each kind; and the seconds that batches were waited for."""
    torch.set_num_threads(threads)
    training = TrainingSettings(steps=settings.steps, batch=settings.batch, log_every=settings.steps)
    clip = small_clip.random(settings.seed)
    pairs = corpus_pairs(clip, settings.batch * settings.steps, settings.seed)
    model = small_clip.random(settings.seed).model.train()
    optimizer = optimizer_for(model, training)
    prepared = list(batches(pairs, training, clip.prepare, clip.device))
    kinds = {
        "train": lambda: train(clip.model, pairs, training, clip.prepare, progress=False),
        "forward_backward": lambda: bare(model, prepared, None),
        "forward_backward_optimizer": lambda: bare(model, prepared, optimizer),
    }
    rows = []
    for _ in range(settings.turns + 1):
        row = {"threads": threads}
        for kind, work in kinds.items():
            row[kind] = seconds(work, 1)[0] / settings.steps * 1000
        rows.append(row)
    waited = seconds_waited(batches(pairs, training, clip.prepare, clip.device))
    return pd.DataFrame(rows[1:]), waited[1:]


def compared(times: pd.DataFrame, kind: str, settings: Settings) -> dict:
    """A training step beside one of the bare loops: medians over the turns of one number of threads."""
    ratios = times["train"] / times[kind]
    return {
        "what": f"a training step of the small CLIP, batch {settings.batch}, against {kind}",
        "threads": int(times["threads"].iloc[0]),
        "step_ms": float(times["train"].median()),
        "bare_ms": float(times[kind].median()),
        "ratio": float(ratios.median()),
        "least_ratio": float(ratios.min()),
        "largest_ratio": float(ratios.max()),
        "wanted_ratio": WANTED_RATIO if kind == "forward_backward" else np.nan,
    }


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """Ratios, milliseconds of every turn, and how long batches were waited for."""
    rows, turns, facts = [], [], []
    for threads in sorted({1, torch.get_num_threads()}):
        times, waited = turns_of(settings, threads)
        turns.append(times)
        for kind in ("forward_backward", "forward_backward_optimizer"):
            rows.append(compared(times, kind, settings))
            line = "{what}, {threads} threads: {step_ms:.1f} ms against {bare_ms:.1f} ms: {ratio:.3f} times"
            cli.say(line.format(**rows[-1]))
        what = f"longest wait for a batch beside steps of 100 ms, {threads} threads, ms"
        facts.append(fact(what, 1000 * max(waited, default=0.0)))
    return {"": rows, "turns": pd.concat(turns).to_dict("records"), "facts": facts}


if __name__ == "__main__":
    frame.main("training_step", "Figure 3: speed of a training step", PRESETS, measure, __doc__)
