"""Figure 2's speed and memory: the depth curve, encoding, and cosines without an n x n matrix, as ratios of one run.

    python benchmarks/cone.py                     (about 4 minutes on 2 cores)
    python benchmarks/cone.py --preset smoke      (small, to try it out)

Encoding is compared with the plain float32 loop twice, one input at a time and in batches of 64, on ViT-B/32 with
random weights; ours takes bfloat16 only where the CPU computes in it.
"""

from dataclasses import dataclass

import torch
from PIL import Image

import frame
import released
from frame import WIDTH, fact, pairs, row, seconds
from util import cone, geometry

PLAIN = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    repeats: int = 3
    """Runs of ours and of the loops; the released depth curve runs once."""
    images: int = 64
    """Pictures to encode."""
    captions: int = 128
    """Captions to encode."""
    rows: int = 50_000
    """Rows whose cosines are measured for their memory."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", repeats=1, images=2, captions=8, rows=2000),
}


def depth(settings: Settings) -> dict:
    """Five activations with bias, one seed, 25 layers of 512 on 1024 inputs."""
    layers = 2 if settings.preset == "smoke" else 25
    ours = seconds(lambda: cone.mean_cosine_by_depth("paper", [True], layers=layers), settings.repeats)
    theirs = seconds(lambda: [released.depth_curve(PLAIN[name], layers) for name in cone.PAPER_ACTIVATIONS], 1)
    return row(f"Figure 2 (b): five activations, one seed, {layers} layers", 10, ours, theirs)


def photographs(n: int) -> list[Image.Image]:
    """The two photographs that ship inside scikit-learn (640 x 427), in turn."""
    from sklearn.datasets import load_sample_images

    both = [Image.fromarray(array) for array in load_sample_images().images]
    return [both[i % 2] for i in range(n)]


def encoding(settings: Settings) -> tuple[list[dict], list[dict]]:
    """Pictures and captions beside the plain loop, and the least cosine to its embeddings."""
    from util.corpora.generated import pictures
    from util.encoders import open_clip_pair

    plain = open_clip_pair.load("ViT-B-32-quickgelu", seed=settings.seed, device="cpu")
    ours = open_clip_pair.load("ViT-B-32-quickgelu", seed=settings.seed, device="cpu", precision="auto")
    captions = list(pictures.scenes(settings.captions, settings.seed).captions)
    work = {
        "image": (2, photographs(settings.images), plain.model.encode_image, ours.non_text, plain.non_text),
        "text": (4, captions, plain.model.encode_text, ours.text, plain.text),
    }
    rows, facts = [], []
    for modality, (wanted, inputs, whole, tower, plain_tower) in work.items():
        mine = seconds(lambda t=tower, i=inputs: t.encode(i, progress=False), settings.repeats)
        dtype = tower.settings["dtype"]
        for batch in (1, 64):
            loop = (whole, inputs, plain_tower.prepare, batch)
            theirs = seconds(lambda loop=loop: released.encode_loop(*loop), settings.repeats)
            what = f"ViT-B/32, {len(inputs)} {modality}s, {dtype}, against the float32 loop in batches of {batch}"
            rows.append(row(what, wanted, mine, theirs))
        least = (tower.encode(inputs) * released.encode_loop(whole, inputs, plain_tower.prepare, 64)).sum(1).min()
        facts.append(fact(f"least cosine to the loop's embeddings, {modality}s, {dtype}", float(least)))
    length = float(ours.text.lengths(ours.text.prepare(captions)).float().mean())
    return rows, [*facts, fact("mean length of a caption in tokens, of 77", length)]


def _statistics(n: int, seed: int):
    x = pairs(n, WIDTH, seed)[0]
    geometry.cosine_statistics(x[:200], 1000)
    return lambda: geometry.cosine_statistics(x, 1000) and None


def _mean(n: int, seed: int):
    x = pairs(n, WIDTH, seed)[0]
    geometry.mean_cosine(x[:200])
    return lambda: geometry.mean_cosine(x) and None


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """All rows and facts."""
    cone.mean_cosine_by_depth("paper", [True], layers=1)
    rows = [depth(settings)]
    encoded, facts = encoding(settings)
    for task, what in ((_statistics, "all statistics"), (_mean, "mean cosine alone")):
        grown = frame.in_fresh_process(task, settings.rows, settings.seed)[0]
        facts.append(fact(f"memory, {what} of {settings.rows} x {WIDTH}, MB (bar 100)", grown))
    return {"": rows + encoded, "facts": facts}


if __name__ == "__main__":
    frame.main("cone", "Figure 2: speed and memory", PRESETS, measure, __doc__)
