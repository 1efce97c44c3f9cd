"""What torchrun starts in two processes for ``test_distributed.py``: training runs and refusals on a tiny model."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import tiny
from tiny import TURN
from util.errors import UserError
from util.training import TrainingSettings, distributed, train
from util.training.checkpoints import Checkpoints
from util.training.losses import LOSSES

CURVE = TrainingSettings(
    steps=12, batch=16, learning_rate=1e-3, learn_temperature=True, temperature=0.1, log_every=1, validate_every=5
)
FIRST_STEP = replace(
    CURVE, steps=1, optimizer="sgd", schedule="constant", weight_decay=0.0, gradient_clip=None, learning_rate=1.0
)


class Stopped(Exception):
    pass


def curve(loss: str, checkpoints=None, stop=None, seed=0):
    """A model trained for a few steps with a text map, and its log."""
    model, prepared = tiny.model(seed), []

    def prepare(pixels):
        prepared.append(0)
        if len(prepared) == stop:
            raise Stopped
        return tiny.prepare(pixels)

    options = {"text_map": TURN, "checkpoints": checkpoints, "validate": lambda done: {"v": done}, "progress": False}
    log = train(model, tiny.pairs(), replace(CURVE, loss=loss), prepare, **options)
    return model, log


def gradient(loss: str) -> dict[str, torch.Tensor]:
    """The gradient of the first step: what one step of plain SGD with rate 1 takes off the weights."""
    model = tiny.model()
    train(model, tiny.pairs(), replace(FIRST_STEP, loss=loss), tiny.prepare, progress=False, text_map=TURN)
    start = dict(tiny.model().named_parameters())
    start["logit_scale"] = torch.tensor(-np.log(FIRST_STEP.temperature))
    return {name: (start[name] - p).detach().float() for name, p in model.named_parameters()}


def refusal(work) -> str:
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def in_two_processes(folder: Path) -> None:
    """Everything that the tests look at, from each process."""
    rank, facts = distributed.rank(), {"size": distributed.size(), "logs": {}}
    for loss in LOSSES:
        save_file(gradient(loss), folder / f"gradient-{loss}-{rank}.safetensors")
        facts["logs"][loss] = curve(loss)[1]
    whole = curve("info_nce", seed=rank)[0]  # other weights in the second process, until it takes the first one's
    save_file(dict(whole.state_dict()), folder / f"whole-{rank}.safetensors")
    store = Checkpoints(folder / "store", 3, say=lambda line: print(line, flush=True))
    try:
        curve("info_nce", store, stop=8)
    except Stopped:
        facts["stopped"] = sorted(path.name for path in store.folder.iterdir())
    torch.distributed.barrier()
    resumed, facts["resumed_log"] = curve("info_nce", store)
    save_file(dict(resumed.state_dict()), folder / f"resumed-{rank}.safetensors")
    odd = replace(CURVE, batch=15)
    facts["odd"] = refusal(lambda: train(tiny.model(), tiny.pairs(), odd, tiny.prepare, progress=False))
    normalised = tiny.model()
    normalised.visual.ln_pre = torch.nn.BatchNorm1d(5)
    facts["batch_norm"] = refusal(lambda: train(normalised, tiny.pairs(), CURVE, tiny.prepare, progress=False))
    facts["disagreed"] = refusal(lambda: distributed.agreed(rank, torch.device("cpu"), "the step"))
    (folder / f"facts-{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.group("cpu") as device:
        assert device.type == "cpu" and "RANK" in os.environ
        in_two_processes(Path(sys.argv[1]))
