"""Figure 2's speed and memory: the depth curve, encoding, and cosines without an n x n matrix, as ratios of one run.

    python benchmarks/cone.py                     (about 4 minutes on 2 cores)
    python benchmarks/cone.py --preset smoke      (small, to try it out)

Encoding is compared with the plain float32 loop twice, one input at a time and in batches of 64, on ViT-B/32 with
random weights; ours takes bfloat16 only where the CPU computes in it. Results go to outputs/benchmarks/.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import released
from run import peak_growth, row, seconds
from util import cli, cone, files, records

PLAIN = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "benchmarks"
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


def encoding(settings: Settings) -> tuple[list[dict], list[dict]]:
    """Pictures and captions beside the plain loop, and the least cosine to its embeddings."""
    from util.corpora.generated import pictures
    from util.corpora.inputs import crops
    from util.encoders import open_clip_pair

    plain = open_clip_pair.load("ViT-B-32-quickgelu", seed=settings.seed, device="cpu")
    ours = open_clip_pair.load("ViT-B-32-quickgelu", seed=settings.seed, device="cpu", precision="auto")
    work = {
        "image": (2, crops(settings.images, settings.seed), plain.model.encode_image),
        "text": (4, list(pictures.scenes(settings.captions, settings.seed).captions), plain.model.encode_text),
    }
    rows, cosines = [], []
    for modality, (wanted, inputs, whole) in work.items():
        side = "non_text" if modality == "image" else "text"
        tower, prepare = getattr(ours, side), getattr(plain, side).prepare
        mine = seconds(lambda tower=tower, inputs=inputs: tower.encode(inputs, progress=False), settings.repeats)
        dtype = tower.settings["dtype"]
        for batch in (1, 64):
            loop = lambda b=batch, w=whole, i=inputs, p=prepare: released.encode_loop(w, i, p, b)  # noqa: E731
            theirs = seconds(loop, settings.repeats)
            what = f"ViT-B/32, {len(inputs)} {modality}s, {dtype}, against the float32 loop in batches of {batch}"
            rows.append(row(what, wanted, mine, theirs))
        least = float((tower.encode(inputs) * released.encode_loop(whole, inputs, prepare, 64)).sum(1).min())
        cosines.append({"what": f"least cosine to the loop's embeddings, {modality}s, {dtype}", "value": least})
        if modality == "text":
            length = float(tower.lengths(tower.prepare(inputs)).float().mean())
            cosines.append({"what": "mean length of a caption in tokens, of 77", "value": length})
    return rows, cosines


def main(settings: Settings) -> None:
    """Runs everything, prints a table, writes the record."""
    start = time.perf_counter()
    cone.mean_cosine_by_depth("paper", [True], layers=1)
    rows = [depth(settings)]
    encoded, facts = encoding(settings)
    for each in (rows := rows + encoded):
        print("{what}: {ours_seconds:.2f} s against {released_seconds:.2f} s: {ratio:.2f} times".format(**each))
    for task, what in (("ours", "all statistics"), ("mean", "mean cosine alone")):
        grown = peak_growth(task, settings.rows, settings.seed)
        facts.append({"what": f"memory, {what} of {settings.rows} x 512, MB (bar 100)", "value": grown})
    for fact in facts:
        print("{what}: {value:.6g}".format(**fact), flush=True)
    with files.publishing(settings.output) as folder:
        records.save(
            folder,
            "cone",
            {"": pd.DataFrame(rows), "facts": pd.DataFrame(facts)},
            settings=settings,
            seconds=time.perf_counter() - start,
            device="cpu",
            dtype=str(np.float32.__name__),
            data=[{"data": "crops of two photographs, captions of scenes, random rows", "seed": settings.seed}],
            title="Figure 2: speed and memory",
        )
    print(f"wrote {settings.output}/cone.csv")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
