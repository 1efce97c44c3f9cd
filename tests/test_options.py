"""Every option of every script and command is read by some runs, named here, and refused by all others."""

from dataclasses import fields

import pytest

import scripts
from util import UserError, cli, commands

EVERYWHERE = {"preset", "output", "device", "seed", "width", "embeddings"}
"""Options that every script takes, and the one that says what is measured: beside it, others are refused."""
GIVEN = {
    "activations": "relu", "amount": "0.5", "audit": "a.toml", "caption": "first", "columns": "image=a text=b",
    "coco": "coco", "cosines": "0.1", "data": "tests", "dimensions": "2", "experiments": "temperature",
    "gap_direction": "audit", "imagenet": "a b", "learning_rate": "0.1", "loss": "info_nce", "method": "pca",
    "model": "RN50:openai", "models": "open_clip:RN50", "norm_ratios": "2", "norms": "2", "optimizer": "sgd",
    "own_data": "pictures", "pixels": "imagenet", "precision": "float32", "shift": "-0.1",
    "shift_step": "0.5", "shifts": "0.1", "side": "both", "systems": "clip clasp", "tasks": "digit",
    "tasks_file": "tasks.toml", "temperatures": "0.5", "weight_decay": "0.1", "embeddings": "a.npz",
    "labels": "l.csv", "corpus": "c.npz", "device": "cpu", "only": "depth", "preset": "smoke",
}  # fmt: skip
"""Words for an option; "3" for those that are not here."""
FLAGS = {"again", "dry_run", "fetch", "every_caption", "released", "temperature_as_released"}

ENCODERS = "seeds images captions coco model pixels precision"
VIEWS = "method points separability_rows"
LOSSES = "batch loss temperatures shift_step points"
TRAINING = "experiments temperatures model coco pairs held_out seeds evaluations batch loss optimizer"
EVALUATION = "side shift_step splits resamples permutations"
AUDIT = "audit shifts shift gap_direction side resamples"
READ = {
    "modality_gap": {
        "": f"fetch systems items coco model precision {VIEWS}",
        "--systems": f"fetch systems {VIEWS}",
        "--systems clip": f"fetch systems items own_data coco model {VIEWS}",
        "--systems clip --model mine.py:f": f"fetch systems items own_data coco model {VIEWS}",
        "--systems clip --model RN50": f"fetch systems items own_data coco model precision {VIEWS}",
        "--systems clip --own-data p": f"fetch items own_data caption model precision {VIEWS}",
        "--systems clip --coco c": f"fetch systems items own_data coco caption model precision {VIEWS}",
        "--preset paper": f"fetch systems items coco caption model precision {VIEWS}",
        "--embeddings e.npz": f"columns {VIEWS}",
    },
    "cosine_similarity": {
        "": f"{ENCODERS} inputs scenes models",
        "--coco c": f"{ENCODERS} inputs scenes models every_caption",
        "--inputs 4": "seeds coco model pixels precision inputs scenes models",
        "--preset paper": f"{ENCODERS} inputs models",
        "--embeddings e.npz": "columns",
    },
    "depth": {"": "seeds layers units batch activations released"},
    "initializations": {
        "": f"{ENCODERS} points imagenet",
        "--coco c": f"{ENCODERS} points imagenet every_caption",
    },
    "theorems": {"": "trials widest cosines norm_ratios norms seeds items units layers"},
    "loss_landscape": {
        "": f"{LOSSES} scenes",
        "--preset smoke": f"{LOSSES} scenes",
        "--preset paper": f"{LOSSES} model coco caption",
        "--embeddings e.npz": f"{LOSSES} columns",
        "--preset paper --embeddings e.npz": f"{LOSSES} columns",
        "--embeddings e.npz --loss sigmoid": "batch loss logit_scale bias shift_step points columns",
    },
    "simulation": {"": "heights"},
    "training": {
        "": f"{TRAINING} steps random_steps learning_rate weight_decay temperature_as_released",
        "--model RN50 --coco c": f"{TRAINING} data steps random_steps learning_rate weight_decay "
        "temperature_as_released",
        "--experiments temperature": f"{TRAINING} steps learning_rate weight_decay temperature_as_released",
        "--experiments learning_rate": f"{TRAINING} random_steps temperature_as_released",
        "--experiments initialization --model RN50 --coco c": f"{TRAINING} data random_steps learning_rate "
        "weight_decay temperature_as_released",
    },
    "zero_shot": {
        "": f"{EVALUATION} tasks tasks_file n model",
        "--model RN50:openai --tasks mscoco": f"{EVALUATION} tasks tasks_file n model data coco caption",
        "--model RN50:openai --tasks cifar10": f"{EVALUATION} tasks tasks_file n model data coco",
        "--tasks cifar10": f"{EVALUATION} tasks tasks_file n model data",
        "--tasks-file util/data/tasks.toml": f"{EVALUATION} tasks tasks_file n model data coco caption",
        "--embeddings e.npz": f"{EVALUATION} columns caption",
    },
    "denigration": {
        "": f"{AUDIT} badges scenes data",
        "--preset paper": f"{AUDIT} data model coco",
        "--data faces": f"{AUDIT} data model coco",
        "--embeddings e.npz": f"{AUDIT} labels corpus",
    },
}
"""Words of a run -> the options that it reads besides those of every script."""


def words_for(option):
    return [f"--{option.replace('_', '-')}", *([] if option in FLAGS else GIVEN.get(option, "3").split())]


def refusal(script, words, option):
    """What is said of an option that a run does not read; "" where it is taken."""
    try:
        cli.parse(script.PRESETS, "", [*words.split(), *words_for(option)])
    except UserError as error:
        told, _, rest = str(error).partition(" only ")
        return str(error) if f"--{option.replace('_', '-')}" in told.split() and "leave it out" in rest else ""
    return ""


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, runs in READ.items() for words in runs])
def test_a_run_refuses_every_option_that_it_does_not_read(name, words, monkeypatch):
    monkeypatch.chdir(scripts.REPOSITORY)
    script = scripts.load(name)
    options = {field.name for field in fields(script.Settings)} - EVERYWHERE
    said = {option: refusal(script, words, option) for option in sorted(options)}
    given = {word.removeprefix("--").replace("-", "_") for word in words.split() if word.startswith("--")}
    assert {option for option, told in said.items() if not told} - given == {*READ[name][words].split()} - given


def test_every_option_of_every_script_is_read_by_some_run():
    assert set(READ) == {path.stem for path in scripts.all_scripts()}
    for name, runs in READ.items():
        read = {option for options in runs.values() for option in options.split()}
        assert read == {field.name for field in fields(scripts.load(name).Settings)} - EVERYWHERE, name


COMMANDS = {
    "fit a.npz --kind shift -o c.safetensors": "amount side",
    "fit a.npz --kind ablation -o c.safetensors": "dimensions",
    "fit a.npz --kind centring -o c.safetensors": "",
    "figures": "preset coco device only again",
    "figures --only cosine_similarity": "preset coco device only again",
    "figures --only depth loss_landscape": "preset device only again",
    "figures --preset paper --only loss_landscape": "preset coco device only again",
    "paper --only depth simulation theorems": "device only again dry_run",
}
"""Console commands whose options depend on each other -> the options that each takes."""
OF_FILES = {"embeddings", "columns", "kind", "output", "steps"}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_refuses_every_option_that_it_does_not_read(words):
    command, options = type(commands.read(words.split())), set()
    for option in (
        {field.name for field in fields(command)} - OF_FILES - ({"preset"} if "paper" in words[:5] else set())
    ):
        try:
            commands.read([*words.split(), *words_for(option)])
        except UserError as error:
            assert f"--{option} only applies to " in str(error)
            continue
        options.add(option)
    assert options == {*COMMANDS[words].split()}


def test_every_rule_names_options_that_are_there_and_leaves_every_option_a_use():
    for settings in [*(scripts.load(name).Settings for name in READ), *commands.COMMANDS.values()]:
        rules = [only for kind in settings.__mro__ for only in vars(kind).get("ONLY", ())]
        named = {option for only in rules for option in only.options.split()}
        assert named <= {field.name for field in fields(settings)}, settings
        assert not [only for only in rules if only.to[-1] in ".;,"]


@pytest.mark.parametrize("seed", ["-1", "4294967296", str(2**70)])
def test_one_check_refuses_every_seed_that_is_out_of_range(seed):
    taken = []
    for name in READ:
        with pytest.raises(UserError, match=r"^--seed must be a whole number from 0 to 2147483648, not -?\d+$"):
            cli.parse(scripts.load(name).PRESETS, "", ["--seed", seed])
    for name, command in commands.COMMANDS.items():
        if "seed" in {field.name for field in fields(command)}:
            words = [name, *(["a.npz"] if hasattr(command, "columns") else []), "--seed", seed]
            with pytest.raises(UserError, match=r"^--seed must be a whole number from 0 to"):
                commands.read(words)
            taken.append(name)
    assert {"measure", "train-small-clip"} <= set(taken)
