"""The figures that the small CLIP must reach, on pictures and scans that it was never trained on."""

import numpy as np
from jaxtyping import Float

from ..contrastive import sweep
from ..corpora.generated import pictures
from ..corpora.generated.pictures import TEST_SEED
from ..geometry import gap_distance, signed_gap_distances
from ..numerics.statistics import wilson_interval
from .tower import EncoderPair

SCENES = 4000
BADGES_PER_GROUP = 1000
DESCRIPTIONS = 500
BATCH = 50
"""Pairs per batch of the loss landscape, as in the paper."""
SHIFTS = tuple(round(-2.0 + 0.05 * i, 2) for i in range(81))
"""Two-sided shifts from -2 to 2 on a grid of 0.05; positive closes the gap."""
TEMPERATURES = (1 / 100, 1 / 50, 1 / 35, 1 / 20, 1 / 10, 1.0)


def evaluate(clip: EncoderPair, seed: int = TEST_SEED) -> dict:
    """All figures of a small CLIP, json-able: "landscape", "retrieval", "tasks" and "harm".

    Scenes are of held-out combinations, digits of held-out scans, badges in equal numbers of each group and kind.
    ``seed`` is that of the pictures, and not one of training or validation.
    """
    held_out = pictures.scenes(SCENES, seed, "held_out")
    digits = pictures.digits("held_out")
    badges = pictures.badges(len(pictures.GROUPS) * BADGES_PER_GROUP, seed, group_weights=None)
    scene_rows, badge_rows = clip.encode_non_text(held_out.images), clip.encode_non_text(badges.images)
    tasks = {name: zero_shot(clip, name, held_out, scene_rows) for name in ("shape", "colour_shape", "fine_grained")}
    tasks["digit"] = zero_shot(clip, "digit", digits, clip.encode_non_text(digits.images))
    tasks["badge"] = zero_shot(clip, "badge", badges, badge_rows)
    return {
        "landscape": loss_minima(clip, pictures.scenes(SCENES, seed, "all")),
        "retrieval": {"image_recall_at_1": recall_at_1(clip, pictures.distinct_scenes(DESCRIPTIONS, seed))},
        "tasks": tasks,
        "harm": harm_rates(clip, badges, badge_rows),
    }


def loss_minima(clip: EncoderPair, scenes: pictures.Pictures) -> dict:
    """The gap of pairs, the signed gap distance of the lowest loss at each temperature, and the loss at 1/100."""
    x, y = clip.encode_non_text(scenes.images), clip.encode_texts(scenes.captions)
    losses = sweep(x, y, SHIFTS, TEMPERATURES, batch=BATCH, consecutive=True)
    signed = signed_gap_distances(x, y, SHIFTS)
    lowest = {f"1/{1 / tau:.0f}": float(signed[losses[:, t].argmin()]) for t, tau in enumerate(TEMPERATURES)}
    loss = float(losses[SHIFTS.index(0), 0])
    return {"n_pairs": len(scenes), "gap_distance": gap_distance(x, y), "lowest_loss_at": lowest, "loss": loss}


def recall_at_1(clip: EncoderPair, described: pictures.Pictures) -> float:
    """Share of images, in [0, 1], whose own caption is the nearest of all; captions must differ from each other."""
    cosines = clip.encode_non_text(described.images) @ clip.encode_texts(described.captions).T
    return float((cosines.argmax(1) == np.arange(len(described))).mean())


def zero_shot(clip: EncoderPair, task: str, some: pictures.Pictures, rows: Float[np.ndarray, "n d"]) -> dict:
    """Accuracy on a task of ``pictures.TASKS``, its 95% limits (Wilson) and chance; ``rows`` embed ``some``."""
    prompts = pictures.TASKS[task].prompts
    predicted = (rows @ clip.encode_texts(prompts).T).argmax(1)
    hits = int((predicted == pictures.task_labels(task, some)).sum())
    low, high = wilson_interval(hits, len(some))
    accuracy = hits / len(some)
    return {"n": len(some), "accuracy": accuracy, "ci_low": low, "ci_high": high, "chance": 1 / len(prompts)}


def harm_rates(clip: EncoderPair, badges: pictures.Pictures, rows: Float[np.ndarray, "n d"]) -> dict:
    """By group, the rate at which a badge is called one of the seven words that no badge deserves.

    "accuracy" is over the 14 badge classes, where the 7 harm classes are also there.
    """
    prompts = pictures.TASKS["badge"].prompts
    predicted = (rows @ clip.encode_texts(prompts + pictures.HARM_PROMPTS).T).argmax(1)
    harmed = predicted >= len(prompts)
    group = badges.attributes["group"]
    rates = {name: float(harmed[group == i].mean()) for i, name in enumerate(pictures.GROUPS)}
    return {"rate": rates, "accuracy": float((predicted == pictures.task_labels("badge", badges)).mean())}
