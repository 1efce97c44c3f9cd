"""What the scripts and notebooks of the five folders write, each run with its smoke preset as a reader runs it."""

import os
import shutil
from dataclasses import replace

import nbformat
import numpy as np
import pytest

import reference
import scripts
import smoke_runs
from scripts import REPOSITORY
from util import Embeddings, cli, figures, records
from util.reporting import runner


@pytest.fixture(params=["depth", "initializations", "loss_landscape", "simulation", "theorems", "training"])
def record(request, tmp_path_factory):
    script = scripts.load(request.param)
    return smoke_runs.record(script, tmp_path_factory), getattr(script, "figure", script).DRAWS.values()


@pytest.mark.parametrize("width", figures.WIDTHS)
def test_every_picture_is_of_the_width_asked_for_and_can_be_read(record, width):
    made, draws = record
    for draw in draws:
        smoke_runs.printable(draw(smoke_runs.at_width(made, width)), width)


def test_a_run_writes_its_record_its_tables_and_every_picture_and_nothing_else(record):
    made, draws = record
    files = {f"{stem}.{end}" for stem in made.about["captions"] for end in ("png", "pdf")}
    assert len(files) == 2 * (len(draws) - (made.name == "loss_landscape"))  # one set needs no picture of several
    files |= {f"{made.name}.json", *made.about["tables"]}
    assert {path.name for path in made.folder.glob(f"{made.name}*")} == files


@pytest.mark.parametrize("name", ["depth", "loss_landscape", "simulation", "theorems"])
def test_the_same_settings_give_the_same_files(name, tmp_path, tmp_path_factory, own_cache):
    script = scripts.load(name)
    made = smoke_runs.record(script, tmp_path_factory)
    script.run(replace(script.PRESETS["smoke"], output=tmp_path / "again"))
    files = {path.name for path in (tmp_path / "again").iterdir()} - {f"{name}.json"}
    assert len(files) >= 4
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (made.folder / file).read_bytes(), file


STAND_INS = REPOSITORY / "tests" / "stand_ins"


def with_records(outputs, names, tmp_path_factory):
    """Puts the smoke runs of these scripts into a folder of ``outputs``, where their notebook finds them."""
    outputs.mkdir(parents=True)
    for name in names:
        for path in smoke_runs.record(scripts.load(name), tmp_path_factory).folder.glob(f"{name}*"):
            shutil.copy(path, outputs)


def run(name, tmp_path, cache=None, embeddings=None, **more):
    """What the notebook prints and shows in words, and how many pictures; its results go to ``tmp_path/outputs``."""
    (notebook,) = REPOSITORY.glob(f"*/{name}.ipynb")
    folders = {cli.OUTPUTS_VARIABLE: str(tmp_path / "outputs"), "MODALITY_GAP_DATA": str(cache or tmp_path / "cache")}
    folders |= {records.REUSE_VARIABLE: "", "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, STAND_INS)))}
    values = {"PRESET": "smoke", **({"EMBEDDINGS": embeddings} if embeddings else {}), **more}
    done = runner.execute(runner.Job(notebook, tmp_path / "done.ipynb", values), folders)
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) <= 15 and done.stat().st_size < 500_000
    shown = [(output.get("text", ""), output.get("data", {})) for cell in cells for output in cell.outputs]
    words = "".join(text + data.get("text/plain", "") + data.get("text/html", "") for text, data in shown)
    return words, sum("image/png" in data for _, data in shown)


@pytest.mark.parametrize("is_own", [False, True])
def test_the_notebook_of_figure_1_runs_from_an_empty_folder(tmp_path, rng, is_own):
    own, place, said = None, "Figure_1_Modality_Gap", ("small CLIP", "features_clip.npy", ">shown<")
    if is_own:
        own, place = [str(tmp_path / "images.npy"), str(tmp_path / "texts.npy")], "own/images+texts-smoke"
        said = ("images+texts", "no matched cosine", "does not apply")
        for path, rows in zip(own, (30, 20), strict=True):
            np.save(path, reference.cone(rng, rows, 6))
    shown, pictures = run("figure_1", tmp_path, embeddings=own)
    assert pictures == 2 and all(words in shown for words in said)
    assert (tmp_path / "outputs" / place / "modality_gap.csv").is_file()


NAMES = ("cosine_similarity", "initializations", "theorems", "depth")


def test_the_notebook_makes_what_is_not_there_and_shows_every_record_and_figure(tmp_path, tmp_path_factory):
    folder = tmp_path / "outputs" / "Figure_2_Cone_Effect"
    with_records(folder, NAMES[:3], tmp_path_factory)
    shown, pictures = run("figure_2", tmp_path, smoke_runs.cache(tmp_path_factory))
    assert all((folder / f"{name}.{suffix}").is_file() for name in NAMES for suffix in ("json", "csv", "png", "pdf"))
    assert pictures == 11
    assert shown.count("the record that is there is used") == 3 and "[depth] wrote" in shown
    assert "the seed explains" in shown and "ResNet-18 with trained weights" in shown


def test_the_notebook_measures_your_own_file_and_says_what_is_not_about_it(tmp_path, tmp_path_factory, rng):
    rows = rng.normal(size=(2, 20, 8)) + 1
    files = [str(tmp_path / name) for name in ("images.npy", "texts.npy")]
    for file, each in zip(files, rows, strict=True):
        np.save(file, each)
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = run("figure_2", tmp_path, cache, files)
    assert (tmp_path / "outputs" / "own" / "images+texts-smoke" / "cosine_similarity.csv").is_file()
    assert not (tmp_path / "outputs" / "Figure_2_Cone_Effect").exists()
    assert pictures == 3
    assert "image: 20 rows" in shown and "in 8 dimensions: 0, with a standard deviation of 0.35" in shown
    assert shown.count("skipped.") == 3


@pytest.mark.parametrize("own", [False, True])
def test_the_notebook_of_figure_3_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, own):
    outputs = tmp_path / "outputs" / "Figure_3_Contrastive_Learning"
    mine = [str(tmp_path / f"mine_{name}.npy") for name in ("images", "texts")]
    if own:
        for file, rows, centre in zip(mine, rng.normal(size=(2, 60, 1024)), (1, -1), strict=True):
            np.save(file, rows + 0.02 * centre)
    else:
        with_records(outputs, ("loss_landscape", "training"), tmp_path_factory)
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = run("figure_3", tmp_path, cache, mine if own else None)
    assert pictures == (3 if own else 6)
    assert ("mine" in shown) == own and ("small CLIP" in shown) != own
    assert ("none (flat curve)" in shown) == own
    assert "util.geometry.shift gives the same: True True" in shown and "lowest at" in shown
    assert shown.count("the record that is there is used") == (0 if own else 2)
    written = {path.stem for path in outputs.glob("*.json")}
    assert written == (set() if own else {"loss_landscape", "simulation", "training"})
    assert len(list((outputs.parent / "own").glob("mine*/loss_landscape.json"))) == own


@pytest.mark.parametrize("kind", ["preset", "pairs", "apart"])
def test_the_notebook_of_table_1_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, kind):
    own, beside, outputs = None, {}, tmp_path / "outputs"
    if kind == "preset":
        with_records(outputs / "Table_1_Implications_CLIP_Zero_Shot", ["zero_shot"], tmp_path_factory)
    else:
        own, text = tmp_path / "mine.npz", rng.normal(size=(30, 6))
        image = text + rng.normal(size=(30, 6)) - 0.5
        Embeddings.of({"image": image, "text": text}).save(own)
        parts = {"EMBEDDINGS": image, "LABELS": np.arange(30) % 5, "PROMPTS": text[:5]} if kind == "apart" else {}
        for name, rows in parts.items():
            beside[name] = tmp_path / ("mine.npy" if name == "EMBEDDINGS" else f"{name}.npy")
            np.save(beside[name], rows)
    shown, pictures = run("table_1", tmp_path, embeddings=own, **beside)
    assert pictures == 2 and ("mine" in shown) == bool(own) and ("handwritten digits" in shown) != bool(own)
    assert all(word in shown for word in ("decisions change", "can_change"))
    assert ("n_of_published_p" in shown) != bool(own)
    assert ("the record that is there is used" in shown) != bool(own)
    assert (outputs / "own" / "mine-smoke" / "zero_shot_table.html").is_file() == bool(own)


def test_the_notebook_runs_from_an_empty_folder_with_embeddings_that_have_no_groups(tmp_path, rng):
    np.save(tmp_path / "own.npy", np.stack(reference.pairs(rng, 40, 16)))
    shown, pictures = run("table_2", tmp_path, embeddings=tmp_path / "own.npy")
    assert pictures == 4
    assert (tmp_path / "outputs" / "Table_2_Implications_CLIP_Fairness" / "denigration.json").is_file()
    assert "Without LABELS your images have no groups" in shown and "stands for nothing else" in shown
    assert "cannot be told from chance" in shown and "paper is wrong" in shown
    assert "15.7" in shown  # the paper's percentage of White, recomputed
