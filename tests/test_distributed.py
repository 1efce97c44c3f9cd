"""Two gloo processes under torchrun and one process with the same global batch: the same gradients, the same curve."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tiny
import two_processes
from util.errors import UserError
from util.training import distributed
from util.training.checkpoints import Checkpoints
from util.training.losses import LOSSES

SCRIPT = Path(two_processes.__file__)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that the two processes wrote into, and what the first one printed."""
    folder = tmp_path_factory.mktemp("two")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    found_in = os.pathsep.join([str(SCRIPT.parent), *sys.path])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": found_in}
    done = subprocess.run([*words, str(folder)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


@pytest.fixture(scope="module")
def facts(two):
    return [json.loads((two[0] / f"facts-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_the_first_step_are_those_of_one_process(loss, two):
    expected = two_processes.gradient(loss)
    largest = max(value.abs().max() for value in expected.values())
    assert largest > 1e-3
    for rank in range(2):
        found = load_file(two[0] / f"gradient-{loss}-{rank}.safetensors")
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * max(1, float(largest)), msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_curve_is_that_of_one_process(loss, facts):
    expected, found = two_processes.curve(loss)[1], facts[0]["logs"][loss]
    assert [entry["step"] for entry in found] == list(range(1, 13))
    for one, other in zip(expected, found, strict=True):
        for name in ("loss", "gap_distance", "temperature", "learning_rate"):
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5), (name, one["step"])


def test_only_the_first_process_logs_validates_and_says(facts, two):
    assert [fact["size"] for fact in facts] == [2, 2]
    assert [entry["step"] for entry in facts[0]["logs"]["cua"] if "v" in entry] == [5, 10, 12]
    assert all(log == [] for log in facts[1]["logs"].values())
    assert two[1].count("going on from step") == 1


def test_every_process_trains_the_first_ones_weights(two):
    first, second = (load_file(two[0] / f"whole-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_stopped_run_of_two_processes_ends_with_the_same_numbers(two, facts):
    whole, resumed, other = (
        load_file(two[0] / f"{name}.safetensors") for name in ("whole-0", "resumed-0", "resumed-1")
    )
    assert "step-00000006.safetensors" in facts[0]["stopped"]
    assert all(torch.equal(value, resumed[name]) and torch.equal(value, other[name]) for name, value in whole.items())
    assert tiny.without_time(facts[0]["resumed_log"]) == tiny.without_time(facts[0]["logs"]["info_nce"])


def test_its_checkpoint_is_refused_by_one_process(two):
    with pytest.raises(UserError, match="processes: 2 there, 1 asked for"):
        two_processes.curve("info_nce", Checkpoints(two[0] / "store", 3))


def test_what_cannot_be_shared_is_refused_in_every_process(facts):
    for fact in facts:
        assert "15 pairs cannot be shared equally by 2 processes" in fact["odd"]
        assert "batch normalisation" in fact["batch_norm"]
        assert fact["disagreed"] == "the processes do not agree on the step: 0 to 1"


def test_one_process_is_a_group_of_its_own():
    rows = torch.ones(2, 3)
    with distributed.group("cpu") as device:
        assert device == torch.device("cpu")
    assert (distributed.rank(), distributed.size(), distributed.is_first()) == (0, 1, True)
    assert distributed.gather(rows, rows)[1] is rows and distributed.share(7) == slice(0, 7)
    assert distributed.agreed(3, torch.device("cpu"), "it") == 3
