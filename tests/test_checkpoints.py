"""A run that is stopped at any moment goes on from its last whole checkpoint and ends with the same numbers."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from tiny import SETTINGS, TURN
from util import files
from util.errors import UserError
from util.training import Pairs, train
from util.training import checkpoints as stored
from util.training.checkpoints import Checkpoints
from util.training.losses import LOSSES

LONG = replace(SETTINGS, steps=200)
CHILD = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
import tiny
from tiny import SETTINGS, TURN
from util import cli
from util.training.checkpoints import Checkpoints
from util.training import train

folder, steps, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def validate(done):
    if done == 10 and limit:  # from here on no file may grow larger than this
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return {"v": done}

store = Checkpoints(folder, every=3 if limit else 1)
cli.run(lambda: train(tiny.model(), tiny.pairs(), replace(SETTINGS, steps=steps), tiny.prepare, validate=validate,
                      text_map=TURN, progress=False, checkpoints=store))
"""


pytestmark = pytest.mark.usefixtures("one_thread")  # the same sums in the same order in every process


class Killed(Exception):
    pass


def run(store=None, settings=SETTINGS, stop=None, model=None, pairs=None, **options):
    """Trains the tiny model; with ``stop`` an exception ends the run in the middle of that step's preparation."""
    steps = []

    def prepare(pixels):
        steps.append(0)
        if len(steps) == stop:
            raise Killed
        return tiny.prepare(pixels)

    model = model or tiny.model()
    options = {"text_map": TURN, "validate": lambda done: {"v": done}, "checkpoints": store} | options
    try:
        return model, train(model, pairs or tiny.pairs(), settings, prepare, progress=False, **options)
    except Killed:
        return None


def step_in(folder):
    """Step of the checkpoint in a folder that holds nothing else."""
    assert [path.name for path in folder.iterdir()] == ["last.safetensors"]
    return stored._read(folder / "last.safetensors", print)[0]["step"]


@pytest.fixture(scope="module")
def uninterrupted(one_thread):
    return run()


def same_end(found, expected):
    return tiny.same(found[0], expected[0]) and tiny.without_time(found[1]) == tiny.without_time(expected[1])


def child(folder, steps=SETTINGS.steps, limit=0):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    words = [sys.executable, "-c", CHILD, str(folder), str(steps), str(limit)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def spoil(path, how):
    content = path.read_bytes()
    middle = len(content) // 2
    spoilt = {
        "truncated": content[:middle],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        # still a whole file with the same tensors: only the hash of the record tells
        "another number": content.replace(rb"\"v\": 10", rb"\"v\": 11"),
    }[how]
    assert spoilt != content
    path.write_bytes(spoilt)


def test_checkpoints_change_nothing_and_a_finished_run_is_not_run_again(tmp_path, uninterrupted):
    for stop in (None, 1):
        found = run(Checkpoints(tmp_path, 7), stop=stop)
        assert same_end(found, uninterrupted) and not found[0].training
        assert step_in(tmp_path) == 30


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_run_stopped_anywhere_ends_with_the_same_numbers(optimizer, tmp_path):
    settings = replace(SETTINGS, optimizer=optimizer, steps=12)
    expected = run(settings=settings)
    store, lines = Checkpoints(tmp_path, 3, say=lambda line: lines.append(line)), []
    for stop in (2, 6, 5):
        assert run(store, settings, stop=stop) is None
    found = run(store, settings)
    assert same_end(found, expected)
    assert [int(line.split("step ")[1].split()[0]) for line in lines] == [3, 6]
    assert all(line.startswith("[checkpoint] going on from step") for line in lines)


def test_a_run_killed_at_a_random_moment_ends_with_the_same_numbers(tmp_path):
    """Killed for real while it writes a checkpoint after every step, at another moment on every run of the test."""
    process = child(tmp_path, steps=LONG.steps)
    while process.poll() is None and not list(tmp_path.glob("last*")):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    assert process.communicate(timeout=60) and process.returncode in (-signal.SIGKILL, 0)
    (tmp_path / f".last-{files.MACHINE}-{process.pid}-abcdefgh.safetensors").write_bytes(b"half written")
    lines = []
    found = run(Checkpoints(tmp_path, 50, say=lines.append), LONG)
    assert lines and "going on from step" in lines[-1]
    assert same_end(found, run(settings=LONG))
    assert not list(tmp_path.glob(".last*")), "what a killed run left is removed"


def test_the_previous_checkpoint_survives_a_full_disk(tmp_path, uninterrupted):
    """A limit on the size of files, set after step 10, stops the writing of step 12 in the middle."""
    process = child(tmp_path, limit=20_000)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 2 and error.count("\n") == 1
    assert "last.safetensors" in error and "could not be written" in error
    assert f"after step 12; the last good checkpoint, of step 9, is {tmp_path}/last.safetensors" in error
    assert step_in(tmp_path) == 9
    assert same_end(run(Checkpoints(tmp_path, 3)), uninterrupted)


@pytest.mark.parametrize("how", ["truncated", "one bit", "empty", "another number"])
def test_a_damaged_checkpoint_is_said_and_the_run_starts_anew(how, tmp_path, uninterrupted):
    run(Checkpoints(tmp_path, 3), stop=14)
    spoil(tmp_path / "last.safetensors", how)
    lines = []
    assert same_end(run(Checkpoints(tmp_path, 3, say=lines.append)), uninterrupted)
    assert len(lines) == 1 and "last.safetensors is damaged (" in lines[0] and "starting anew" in lines[0]


def test_a_model_with_dropout_ends_with_the_same_numbers(tmp_path):
    def dropping():
        model = tiny.model()
        model.ln_final = torch.nn.Sequential(model.ln_final, torch.nn.Dropout(0.3))
        return model

    before = torch.get_rng_state()
    expected = run(model=dropping())
    assert torch.equal(before, torch.get_rng_state()), "the global generator stays as it was"
    run(Checkpoints(tmp_path, 3), stop=8, model=dropping())
    assert same_end(run(Checkpoints(tmp_path, 3), model=dropping()), expected)
    assert not same_end(run(model=tiny.model()), expected)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"settings": replace(SETTINGS, batch=8)}, "(batch 16 -> 8)"),
        ({"settings": replace(SETTINGS, optimizer="adam", seed=3)}, "(seed 0 -> 3, optimizer adamw -> adam)"),
        ({"settings": replace(SETTINGS, loss="cua")}, "(loss info_nce -> cua)"),
        ({"model": tiny.model(1)}, "(first_weights "),
        ({"pairs": tiny.pairs(seed=1)}, "(data "),
        ({"pairs": Pairs(tiny.pairs(seed=1).images, tiny.pairs().tokens)}, "(data "),
        ({"text_map": None}, "(text_map "),
    ],
)
def test_a_resumed_run_with_other_settings_is_refused_by_name(changes, told, tmp_path):
    run(Checkpoints(tmp_path, 3), stop=5)
    with pytest.raises(UserError, match="other settings") as caught:
        run(Checkpoints(tmp_path, 3), **changes)
    assert told in str(caught.value) and "another folder" in str(caught.value)
    assert step_in(tmp_path) == 3


def test_a_diverging_loss_names_the_step_and_the_last_good_checkpoint(tmp_path, monkeypatch):
    calls = []

    def broken(x, y, scale):
        calls.append(0)
        return (x * y).sum() * (float("inf") if len(calls) == 8 else 1)

    monkeypatch.setitem(LOSSES, "info_nce", broken)
    model = tiny.model()
    with pytest.raises(UserError, match=r"inf at step 7; .*good checkpoint, of step 6, is .*/a/last.safetensors"):
        run(Checkpoints(tmp_path / "a", 3), model=model)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    calls.clear()
    with pytest.raises(UserError, match=r"inf at step 7; .*no checkpoint was written before"):
        run(Checkpoints(tmp_path / "b", 10))


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_are_spoilt(monkeypatch):
    """The root of 0 has a finite value and an infinite slope."""
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, scale: (x - x.detach()).square().sum().sqrt())
    model = tiny.model()
    with pytest.raises(UserError, match=r"norm of the gradient is (nan|inf) at step 0"):
        run(model=model)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_weights_that_are_not_finite_are_not_written(tmp_path, monkeypatch):
    """A step may overflow after the last check; the checkpoint before it must stay the last one."""
    settings = replace(SETTINGS, optimizer="sgd", schedule="constant", learning_rate=1e30, weight_decay=0.0)
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, s: (x * y).sum() * (1e15 if list(tmp_path.iterdir()) else 0))
    with pytest.raises(
        UserError, match=r"last.\w+: not written, .* not finite.*after step 2; the last good.*of step 1,"
    ):
        run(Checkpoints(tmp_path, 1), replace(settings, gradient_clip=None))
    assert step_in(tmp_path) == 1


def test_a_checkpoint_holds_weights_moments_map_step_settings_and_log(tmp_path):
    model, log = run(Checkpoints(tmp_path, 10))
    record, tensors = stored._read(tmp_path / "last.safetensors", print)
    assert all(torch.equal(tensors[f"model.{name}"], value) for name, value in model.state_dict().items())
    moments = {name.split(".")[-1] for name in tensors if name.startswith("optimizer")}
    assert moments == {"step", "exp_avg", "exp_avg_sq"}
    np.testing.assert_allclose(tensors["text_map"], TURN, atol=1e-6)
    assert record["step"] == 30 and record["log"] == log and record["losses"] == []
    assert record["identity"]["batch"] == 16


def test_checkpoints_need_a_folder_and_a_whole_number_of_steps(tmp_path):
    with pytest.raises(UserError, match="every must be a whole number of at least 1, not 0"):
        Checkpoints(tmp_path, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(Checkpoints(tmp_path / "file", 3))
