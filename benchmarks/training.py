"""A training step of the embedded small CLIP beside its bare forward and backward pass, as ratios of one run.

Turns of a few steps alternate: ``util.training.train`` as it is used, and on batches made before, the bare forward and
backward pass with InfoNCE, without and with an optimiser step. Ratios are medians over the turns, with one thread and
with all. On a shared machine only the row of one thread says anything: several wait for one another by spinning.
"""

import pandas as pd
import torch
from open_clip.loss import ClipLoss

import frame
from frame import seconds
from util import cli
from util.encoders import small_clip
from util.encoders.small_clip_training import corpus_pairs
from util.training import TrainingSettings, batches, embed, optimizer_for, train

WANTED = {"forward_backward": 1.3, "forward_backward_optimizer": None}
"""Most that a step may cost, in passes of each bare kind."""


def bare(model, prepared: list, optimizer: torch.optim.Optimizer | None) -> None:
    """Forward and backward passes of batches that are there, with or without an optimiser's step."""
    loss, scale = ClipLoss(), torch.tensor(100.0)
    for images, tokens in prepared:
        model.zero_grad(set_to_none=True)
        loss(*embed(model, images, tokens), scale).backward()
        if optimizer:
            optimizer.step()


def turns_of(settings: frame.Settings, threads: int, batch: int) -> pd.DataFrame:
    """Milliseconds a step in every turn, a column for each kind; one more turn is done first and not counted."""
    torch.set_num_threads(threads)
    steps = settings.size(5, 2)
    training = TrainingSettings(steps=steps, batch=batch, log_every=steps)
    clip, model = small_clip.random(settings.seed), small_clip.random(settings.seed).model.train()
    pairs = corpus_pairs(clip, batch * steps, settings.seed)
    optimizer, prepared = optimizer_for(model, training), list(batches(pairs, training, clip.prepare, clip.device))
    kinds = {
        "train": lambda: train(clip.model, pairs, training, clip.prepare, progress=False),
        "forward_backward": lambda: bare(model, prepared, None),
        "forward_backward_optimizer": lambda: bare(model, prepared, optimizer),
    }
    turns = range(settings.size(7, 2) + 1)
    rows = [{kind: seconds(work)[0] / steps * 1000 for kind, work in kinds.items()} for _ in turns]
    return pd.DataFrame(rows[1:]).assign(threads=threads)


def compared(times: pd.DataFrame, kind: str, threads: int, batch: int) -> dict:
    """A training step beside one of the bare loops: medians over the turns of one number of threads."""
    ratios = times["train"] / times[kind]
    what = f"a training step of the small CLIP, batch {batch}, against {kind}"
    step, passes, ratio = (float(values.median()) for values in (times["train"], times[kind], ratios))
    cli.say(f"{what}, {threads} threads: {step:.1f} ms against {passes:.1f} ms: {ratio:.3f} times")
    found = {"what": what, "threads": threads, "step_ms": step, "bare_ms": passes, "ratio": ratio}
    return {**found, "least_ratio": ratios.min(), "largest_ratio": ratios.max(), "wanted_ratio": WANTED[kind]}


def measure(settings: frame.Settings) -> dict[str, pd.DataFrame | list[dict]]:
    """Ratios, and milliseconds of every turn."""
    batch = settings.size(256, 32)
    turns = {threads: turns_of(settings, threads, batch) for threads in sorted({1, torch.get_num_threads()})}
    rows = [compared(times, kind, threads, batch) for threads, times in turns.items() for kind in WANTED]
    return {"": rows, "turns": pd.concat(turns.values())[["threads", "train", *WANTED]]}


if __name__ == "__main__":
    frame.main("training_step", "Figure 3: speed of a training step", measure, __doc__)
