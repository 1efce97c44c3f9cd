"""Figure 2's speed: the depth curve, and encoding, as ratios of one run.

Encoding is compared with the plain float32 loop twice, one input at a time and in batches of 64, on ViT-B/32 with
random weights.
"""

import numpy as np
import torch
from PIL import Image

import frame
import released
from frame import compared, fact, row, seconds
from util.corpora.generated import pictures
from util.encoders.named import Named
from util.reporting.steps import STEPS

PLAIN = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


def depth(settings: frame.Settings) -> dict:
    """Five activations with bias, one seed; both draw their own layers, so that the curves agree roughly."""
    layers = settings.size(25, 2)
    (networks,) = (step.load().random_networks for step in STEPS if step.name == "depth")

    def ours(_):
        curves = networks.mean_cosine_by_depth(tuple(PLAIN), [True], layers=layers).values()
        return [networks.with_self_pairs(curve[1:], 1024) for curve in curves]

    def theirs(_):
        return [released.depth_curve(activation, layers) for activation in PLAIN.values()]

    what = f"Figure 2 (b): five activations, one seed, {layers} layers"
    return compared(what, 10, ours, theirs, settings.runs, atol=0.15)


def encoding(settings: frame.Settings) -> tuple[list[dict], list[dict]]:
    """Pictures and captions beside the plain loop, and the least cosine to its embeddings."""
    pair = Named.parse("ViT-B-32-quickgelu").pair(settings.seed, "cpu")
    rng = np.random.default_rng(settings.seed)
    images = [Image.fromarray(rng.integers(0, 256, (427, 640, 3), np.uint8)) for _ in range(settings.size(64, 2))]
    captions = list(pictures.scenes(settings.size(128, 8), settings.seed).captions)
    rows, facts = [], []
    for modality, wanted, inputs, tower, whole, prepare in (
        ("image", 2, images, pair.non_text, pair.model.encode_image, pair.non_text.prepare),
        ("text", 4, captions, pair.text, pair.model.encode_text, pair.text.prepare),
    ):
        mine = seconds(lambda t=tower, i=inputs: t.encode(i), settings.runs)
        dtype = tower.settings["dtype"]
        for batch in (1, 64):
            loop = (whole, inputs, prepare, batch)
            theirs = seconds(lambda loop=loop: released.encode_loop(*loop), settings.runs)
            what = f"ViT-B/32, {len(inputs)} {modality}s, {dtype}, against the float32 loop in batches of {batch}"
            rows.append(row(what, wanted, mine, theirs))
        least = (tower.encode(inputs) * released.encode_loop(*loop)).sum(1).min()
        facts.append(fact(f"least cosine to the loop's embeddings, {modality}s, {dtype}", least))
    length = pair.text.lengths(pair.text.prepare(captions)).float().mean()
    return rows, [*facts, fact("mean length of a caption in tokens, of 77", length)]


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """All rows and facts."""
    rows, facts = encoding(settings)
    return {"": [depth(settings), *rows], "facts": facts}


if __name__ == "__main__":
    frame.main("cone", "Figure 2: speed", measure, __doc__)
