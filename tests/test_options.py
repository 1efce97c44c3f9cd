"""Every option of every script and command is read by some runs, named here, and refused by all others."""

import itertools
import zlib
from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

import scripts
from util import Embeddings, UserError, cli, commands, geometry, training

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
LANDSCAPE = "batch loss temperatures shift_step points"
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
    "initializations": {"": f"{ENCODERS} points imagenet", "--coco c": f"{ENCODERS} points imagenet every_caption"},
    "theorems": {"": "trials widest cosines norm_ratios norms seeds items units layers"},
    "loss_landscape": {
        "": f"{LANDSCAPE} scenes",
        "--preset smoke": f"{LANDSCAPE} scenes",
        "--preset paper": f"{LANDSCAPE} model coco caption",
        "--embeddings e.npz": f"{LANDSCAPE} columns",
        "--preset paper --embeddings e.npz": f"{LANDSCAPE} columns",
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
        "--embeddings e.npz": f"{EVALUATION} columns caption labels prompts",
    },
    "denigration": {
        "": f"{AUDIT} badges scenes data",
        "--preset paper": f"{AUDIT} data model coco",
        "--data faces": f"{AUDIT} data model coco",
        "--embeddings e.npz": f"{AUDIT} labels corpus columns",
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
    command = type(commands.read(words.split()))
    for option in {field.name for field in fields(command)} - OF_FILES - {"preset"} | {*COMMANDS[words].split()}:
        given = [*words.split(), *words_for(option)]
        if option in COMMANDS[words].split():
            commands.read(given)
            continue
        with pytest.raises(UserError, match=f"--{option} only applies to "):
            commands.read(given)


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


SMALL = {
    "depth": "--seeds 2 --layers 2 --units 8 --batch 6",
    "theorems": "--trials 20 --widest 16 --seeds 5 --items 4 --units 16 --layers 2 --cosines 0.5 --norm-ratios 1 "
    "--norms 1",
    "simulation": "--heights 5",
    "loss_landscape": "--batch 4 --shift-step 1 --points 5 --temperatures 0.2",
    "cosine_similarity": "--images 4 --captions 4 --seeds 2 --model ViT-S-32-alt",
    "initializations": "--images 4 --captions 4 --seeds 2 --model ViT-S-32-alt --points 4",
    "zero_shot": "--shift-step 2 --splits 4 --resamples 20 --permutations 20",
    "training": "--seeds 1",
}
"""Words that keep a run short. What each option changes is looked for in it, with stand-ins for networks and data."""
RUNS = {
    "depth": [""],
    "theorems": [""],
    "simulation": [""],
    "loss_landscape": ["", "--preset paper", "--embeddings e.npz"],
    "cosine_similarity": ["", "--coco c", "--preset paper"],
    "initializations": ["", "--coco c"],
    "zero_shot": ["--embeddings e.npz"],
    "training": ["", "--model RN50 --coco c"],
}
OTHER = {
    "released": "--no-released", "widest": "--widest 32", "units": "--units 32",
    "splits": "--splits 5", "evaluations": "--evaluations 5", "pairs": "--pairs 640", "loss": "--loss mine",
    "scenes": "--scenes 13", "caption": "--caption last", "model": "--model RN101",
    "loss_landscape.model": "--model RN101:openai",
}  # fmt: skip
"""Words for an option that differ from its default, where those of ``GIVEN`` do not."""
NUMBERS = {"gap_before": 0.0, "gap_after": 0.0, "loss": 0.0}
UNSEEN = {"columns", "models", "inputs", "loss_landscape.loss", "training.coco", "labels", "prompts"}
"""Options of the reader, of further encoders, and some in place of others: their own tests see what they change."""


def drawn_by(*given, n=12, d=8):
    """Rows that depend on all that they are asked for by, and on nothing else."""
    return np.random.default_rng(zlib.crc32(repr(given).encode())).normal(size=(n, d)).astype(np.float32)


@pytest.fixture
def stand_ins(monkeypatch, tmp_path, own_cache):
    """Networks and data of others, in whose place rows are drawn by what they are asked for."""
    from util import extraction, published
    from util.corpora import tasks
    from util.encoders import small_clip
    from util.encoders.named import KINDS, Named

    embeddings = scripts.load("encoder_inputs")

    def pairs(*asked):
        x = drawn_by(asked)
        return Embeddings.of({"image": geometry.unit_rows(x), "text": geometry.unit_rows(x + drawn_by("text"))})

    def embed(self, named, what, seeds):
        for seed, each in itertools.product(seeds, what):
            if each.modality == "image" or KINDS[named.kind].text:
                asked = named, each.name, each.n, dict(each.about), seed, self.settings.precision
                rows = geometry.unit_rows(drawn_by(*asked))
                yield embeddings.Rows(embeddings.label(named, each.modality), each, seed, rows, {})

    def mscoco(folder, images, captions, every):
        of, counts = scripts.load("encoder_inputs").Inputs, {"image": images, "text": captions}
        about = {"from": str(folder), "every": every, "split": "val2017"}
        return [of(f"MSCOCO {modality}", modality, n, about) for modality, n in counts.items()]

    def extracted(encoder, captioned, **more):
        stands_in = isinstance(captioned, tuple)
        return pairs(encoder, captioned) if stands_in else extraction.extract(encoder, captioned, **more)

    def absent(*words, **more):
        raise UserError("not here")

    monkeypatch.setattr(tasks, "mscoco", lambda *words, **more: (words, more))
    monkeypatch.setattr(Named, "pair", lambda self, **more: SimpleNamespace(name=repr(self)))
    monkeypatch.setattr(scripts.load("loss_landscape"), "extract", extracted)
    monkeypatch.setattr(published, "load", absent)
    monkeypatch.setattr(small_clip, "load", cache(small_clip.load))
    monkeypatch.setattr(published, "available", lambda: ())
    monkeypatch.setattr(embeddings.Gathered, "embed", embed)
    monkeypatch.setattr(scripts.load("initializations"), "umap_coordinates", lambda rows, seed: rows[:, :2])
    monkeypatch.setattr(scripts.load("encoder_inputs"), "mscoco", mscoco)
    monkeypatch.setitem(training.LOSSES, "mine", lambda x, y, scale: x.sum())
    script = scripts.load("training")
    monkeypatch.setattr(script.training_runs, "load", lambda *words, **more: (words, more))
    for name in ("scenes", "photographs", "with_task"):
        asked = lambda first, *words, name=name: SimpleNamespace(about={}, asked=(name, first, words))  # noqa: E731
        monkeypatch.setattr(script.training_runs, name, asked)
    monkeypatch.setattr(script, "perform", lambda run, *shared: {"summary": NUMBERS, "asked": (run, *shared)})
    monkeypatch.setattr(script, "measured", lambda settings, outcomes, *_: SimpleNamespace(tables={}, results=[
        (each["asked"][0], each["asked"][2].asked, each["asked"][3], each["asked"][1].args)
        for each in outcomes]))  # fmt: skip
    x = drawn_by("own", n=40)
    labels, text = np.arange(40) % 5, x[:5] + drawn_by("text", n=5)
    Embeddings.of({"image": x, "text": text}, labels=labels).save(tmp_path / "classes.npz")
    Embeddings.of({"image": x, "text": x + drawn_by("text", n=40)}).save(tmp_path / "pairs.npz")
    many = np.stack([np.repeat(np.arange(20), 2), np.arange(40)], axis=1)
    Embeddings.of({"image": x[:20], "text": x + drawn_by("text", n=40)}, pairs=many).save(tmp_path / "captions.npz")
    monkeypatch.chdir(tmp_path)


def measured(name, words):
    script = scripts.load(name)
    settings = cli.parse(script.PRESETS, "", words)
    found = script.measure(settings, "cpu")
    return repr({what: table.to_csv() for what, table in found.tables.items()}), repr(found.results)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in RUNS.items() for kind in kinds])
def test_every_option_that_a_run_takes_changes_what_is_measured(name, kind, stand_ins):
    file = {"zero_shot": "captions.npz", "loss_landscape": "pairs.npz"}.get(name, "")
    small = SMALL[name] + (" --scenes 12" if "scenes" in READ[name][kind].split() else "")
    base = f"{kind.replace('e.npz', file)} {small}".split()
    before = measured(name, base)
    assert before == measured(name, base), "the same again"
    for option in [each for each in READ[name][kind].split() if not {each, f"{name}.{each}"} & UNSEEN]:
        words = OTHER.get(f"{name}.{option}", OTHER.get(option, "")).split() or words_for(option)
        assert measured(name, [*base, *words]) != before, option
