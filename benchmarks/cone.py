"""Figure 2's speed: the depth curve, as a ratio of one run."""

import torch

import frame
import released
from frame import compared
from util import cone

PLAIN = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


def measure(settings: frame.Settings) -> dict[str, list[dict]]:
    """Five activations with bias, one seed; both draw their own layers, so that the curves agree roughly."""
    layers = settings.size(25, 2)

    def ours(_):
        curves = cone.mean_cosine_by_depth(tuple(PLAIN), [True], layers=layers).values()
        return [cone.with_self_pairs(curve[1:], 1024) for curve in curves]

    def theirs(_):
        return [released.depth_curve(activation, layers) for activation in PLAIN.values()]

    what = f"Figure 2 (b): five activations, one seed, {layers} layers"
    return {"": [compared(what, 10, ours, theirs, settings.runs, atol=0.15)]}


if __name__ == "__main__":
    frame.main("cone", "Figure 2: speed", measure, __doc__)
