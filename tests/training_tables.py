"""Section 4's script without its pictures, and tables of training runs that were never run, for its claims."""

from dataclasses import replace

import pandas as pd

import scripts
import smoke_runs

script = scripts.load("training.py")


def run(settings, folder):
    with smoke_runs.undrawn():
        return script.run(replace(settings, output=folder))


def tables(gaps, **changes):
    """Runs of as many seeds as there are gaps: (experiment, temperature, initialization) -> gaps after training.

    Every one starts at a gap of 0.1 and is measured at steps 0, 1 and 2; ``changes`` are columns of the summary. The
    second seed's minima lie 0.3 below its own gap, the others' 0.01.
    """
    names = ["experiment", "temperature", "initialization", "seed", "gap_after"]
    rows = [(*run, seed, gap) for run, after in gaps.items() for seed, gap in enumerate(after)]
    summary = pd.DataFrame(rows, columns=names)
    summary = summary.assign(gap_before=0.1, loss=2.0, chance_loss=4.0, steps=2, weight_decay=0.0, learning_rate=1e-4)
    summary = summary.assign(**changes)
    steps = [summary.assign(step=step, gap_distance=summary["gap_after"] if step else 0.1) for step in (0, 1, 2)]
    curve = pd.concat(steps, ignore_index=True).assign(image_recall_at_1=0.5, text_recall_at_1=0.5)
    curve = curve.assign(zero_shot_gap_distance=0.4, zero_shot_accuracy=0.9 - 0.1 * (curve["step"] > 0))
    places = [summary.assign(evaluated_temperature=summary["temperature"] * factor) for factor in (0.5, 1, 2)]
    places = pd.concat(places, ignore_index=True)
    places = places.assign(own_gap=places["gap_after"])
    places["gap_at_minimum"] = places["own_gap"] - 0.01 - 0.29 * (places["seed"] == 1)
    return {"": curve, "summary": summary, "landscape": places}
