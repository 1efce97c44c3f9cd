"""Section 4's training runs, end to end: the script, what it measures, its faults, its paper preset on few files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import reference
import scripts
import smoke_runs
import training_claims
import training_figure
import training_pairs
import training_runs
from coco_files import write_folder
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from training_measures import SHIFTS, Meter, embeddings, landscape, recall_at_1
from util import UserError, figures, published
from util.corpora.captioned import Readable
from util.encoders import open_clip_pair
from util.numerics import procrustes
from util.training.losses import LOSSES

pytestmark = pytest.mark.usefixtures("own_cache")

script = scripts.load("training.py")
CONTRACT = ["experiment", "seed", "temperature", "initialization", "step", "gap_distance", "loss"]
CONTRACT += ["image_recall_at_1", "text_recall_at_1"]
SHORT = replace(
    script.PRESETS["smoke"], temperatures=(0.1,), experiments=("temperature",), pairs=32, held_out=16, steps=3, batch=8
)


def run(settings, folder):
    """The script without its pictures, which the smoke run draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "draw", lambda record: None)
        patch.setattr(figures, "save", lambda figure, folder, name: [])
        return script.run(replace(settings, output=folder))


def test_the_script_writes_its_tables_record_and_pictures(smoke):
    files = {f"training{what}.csv" for what in ("", "_landscape", "_summary")}
    assert {path.name for path in smoke.folder.glob("training*")} == files | {
        f"training.{e}" for e in ("json", "png", "pdf")
    }
    table, landscape, summary = (smoke.tables[what] for what in ("", "landscape", "summary"))
    assert list(table.columns[:9]) == CONTRACT
    runs = ["experiment", "temperature", "initialization"]
    assert table.groupby(runs)["step"].apply(list).tolist() == [[0, 2, 4]] * 5
    assert set(table["initialization"]) == {"trained", "original", "amended", "absorbed"}
    assert table["gap_distance"].between(0, 2).all() and np.isclose(table["tau"], table["temperature"]).all()
    assert table[[*CONTRACT[7:], "zero_shot_accuracy"]].stack().between(0, 1).all()
    assert len(landscape) == 2 * len(summary) == 10, "every model at every temperature"
    assert (landscape["lowest_loss"] <= landscape["own_loss"]).all()
    ends = table.groupby(runs)["gap_distance"].last()
    assert np.allclose(ends, landscape.groupby(runs)["own_gap"].first(), atol=1e-6)


def test_the_record_says_what_was_measured_and_on_what(smoke):
    assert [part["experiment"] for part in smoke.about["data"]] == ["temperature", "initialization"]
    assert "full description" in smoke.about["data"][1]["caption_rule"]
    rows = {row["key"].removeprefix(training_claims.PREFIX): row for row in smoke.about["comparisons"]}
    numbers = [row for row in rows.values() if isinstance(row["published"], float)]
    assert len(numbers) == 3 * 2 + 4 and all(row["agrees"] is None and not row["own"] for row in numbers)
    assert rows["claims.grows"]["agrees"] is not None and rows["claims.amended_below"]["agrees"] is not None
    amended = rows["claims.amended_grows"]
    assert amended["agrees"] is None and "not judged, for not every model has learned anything" in amended["note"]


def test_every_published_number_has_its_comparison():
    gaps = {("temperature", tau, "trained"): (0.9 - tau, 0.8 - tau) for tau in training_claims.PAPER_TEMPERATURES}
    found = claims({**CLAIMED, **gaps}, same=True)
    assert set(found) == {key.removeprefix(training_claims.PREFIX) for key in published.numbers("section_4_training.")}


def test_the_map_beside_the_model_and_inside_its_projection_start_as_the_same_function(smoke):
    table = smoke.tables[""]
    first = table[(table["experiment"] == "initialization") & (table["step"] == 0)].set_index("initialization")
    numbers = first[["gap_distance", "loss", "image_recall_at_1", "text_recall_at_1"]]
    assert np.allclose(numbers.loc["amended"], numbers.loc["absorbed"], atol=1e-5)
    assert numbers.loc["amended", "gap_distance"] < 0.5 < numbers.loc["original", "gap_distance"]


def summary_of(gaps):
    """Runs of two seeds: (experiment, temperature, initialization) -> gap after, of both."""
    names = ["experiment", "temperature", "initialization", "seed", "gap_after"]
    rows = [(*run, seed, gap) for run, after in gaps.items() for seed, gap in enumerate(after)]
    return pd.DataFrame(rows, columns=names).assign(learned=False, gap_before=0.1, loss=2.0, chance_loss=4.0, steps=9)


CLAIMED = {
    ("temperature", 1.0, "trained"): (0.1, 0.2),
    ("temperature", 0.1, "trained"): (0.3, 0.3),
    ("temperature", 0.01, "trained"): (0.8, 0.9),
    ("initialization", 0.01, "original"): (1.3, 1.2),
    ("initialization", 0.01, "amended"): (0.6, 0.5),
    ("initialization", 0.01, "absorbed"): (0.7, 0.4),
}


def claims(gaps, same=False, first=None, **changes):
    """Comparisons by the rest of their key; ``first``: further rows of the curve; changes of the summary."""
    summary = summary_of(gaps).assign(**changes)
    curve = pd.concat([first, summary.assign(step=2, gap_distance=summary["gap_after"])])
    curve = curve.assign(image_recall_at_1=0.5, text_recall_at_1=0.5)
    colder = summary.assign(evaluated_temperature=summary["temperature"] / 2)
    places = pd.concat([summary.assign(evaluated_temperature=summary["temperature"] * n) for n in (1, 2)] + [colder])
    places = places.assign(own_gap=places["gap_after"])
    places["gap_at_minimum"] = places["own_gap"] - 0.3 * (places["seed"] == 1)
    tables = {"": curve, "summary": summary, "landscape": places}
    return {c.key.removeprefix(training_claims.PREFIX): c for c in training_claims.compare(tables, "here", same)}


def test_claims_hold_where_they_do():
    found = claims(CLAIMED)
    assert [row.agrees for row in found.values() if row.agrees is not None] == [True, True, True]
    said = {key.removeprefix("claims."): row.ours for key, row in found.items()}
    assert said["grows"] == "lowest Spearman correlation over 2 seeds 1.00"
    assert "in 2 of 2 seeds" in found["claims.grows"].note
    assert said["amended_grows"] == "at least 5.0 times" and said["amended_below"] == "lower by at least 0.700"
    assert said["own_minimum"] == "3 of 6" and said["absorbed"] == "+0.100, -0.100"
    coldest = found["temperature_fine_tuning.gap_distance.5"]
    assert (coldest.published, coldest.ours, coldest.agrees) == (1.0006, pytest.approx(0.85), None)


@pytest.mark.parametrize(
    ("which", "gaps", "claim"),
    [
        (("temperature", 0.1, "trained"), (0.3, 0.95), "claims.grows"),
        (("initialization", 0.01, "amended"), (0.6, 0.49), "claims.amended_grows"),
        (("initialization", 0.01, "original"), (1.3, 0.45), "claims.amended_below"),
    ],
)
def test_a_claim_fails_where_one_seed_breaks_it(which, gaps, claim):
    found = {key: row.agrees for key, row in claims({**CLAIMED, which: gaps}).items()}
    assert [key for key, agrees in found.items() if agrees is False] == [claim]


def test_the_papers_own_settings_are_judged_by_its_numbers():
    ends = {("temperature", 0.01, "trained"): (1.0, 1.06), ("temperature", 1.0, "trained"): (0, 0)}
    found = claims({**CLAIMED, **ends}, same=True)
    gaps = [found[f"temperature_fine_tuning.gap_distance.{k}"].agrees for k in (0, 5)]
    assert gaps == [False, True] and found["temperature_fine_tuning.text_recall_at_1.5"].agrees is False
    assert found["initialisation_and_optimisation.original_trained"].agrees is True
    assert all(row.own for row in found.values())
    paper = script.PRESETS["paper"]
    assert script.is_the_papers(replace(paper, coco=Path("coco"), seeds=2, device="cuda"))
    for change in ({"model": "ViT-B-32"}, {"preset": "embedded"}, {"loss": "cua"}, {"steps": 1}, {"evaluations": 3}):
        assert not script.is_the_papers(replace(paper, **change))


def test_the_amended_claim_is_not_judged_where_a_model_has_learned_nothing():
    amended = claims(CLAIMED, loss=3.95)["claims.amended_grows"]
    assert amended.agrees is None and "by chance 4.00: not judged" in amended.note


def test_the_amended_gap_must_stay_below_all_the_way():
    summary = summary_of(CLAIMED)
    start = summary[summary["experiment"] == "initialization"]
    first = start.assign(step=1, gap_distance=np.where(start["initialization"] == "amended", 1.4, 1.3))
    below = claims(CLAIMED, first=first)["claims.amended_below"]
    assert below.agrees is False and "at all 4 measurements by at least -0.100" in below.note


def test_a_minimum_past_each_other_is_as_far_as_it_is():
    """A signed gap of -0.9 is larger, not smaller, than a model's own 0.5."""
    row = {"experiment": "temperature", "learned": False, "temperature": 0.01, "own_gap": 0.5}
    places = [(0.1, -0.9), (0.1, 0.2), (0.01, 0.45)]
    table = pd.DataFrame([{**row, "evaluated_temperature": tau, "gap_at_minimum": gap} for tau, gap in places])
    own, hotter = training_claims._minima(table)
    assert own[1] == "1 of 1" and "1 of all 3 minima lie at a gap below -0.1" in own[3]
    assert hotter[1] == "1 of 2"


def test_recall_is_named_by_what_is_retrieved():
    """Both texts are nearest to image 0; each image is nearest to its own text."""
    x, y = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.8, -0.6], [1.0, 0.0]])
    assert recall_at_1(x, y) == (0.5, 0.5)
    assert recall_at_1(np.eye(3), np.eye(3)) == (1, 1)
    three = np.array([[1.0, 0, 0], [0.9, 0.1**0.5, 0.3], [0, 0, 1.0]])
    assert recall_at_1(np.eye(3), three) == (pytest.approx(2 / 3), 1)


def test_the_landscape_is_the_sweep_of_the_definition(rng):
    x, y = reference.pairs(rng, 24, 5)
    for place in landscape(x, y, [1.0, 0.05], 8):
        losses = [
            reference.loss(*reference.shifted(x, y, shift), place["evaluated_temperature"], 8) for shift in SHIFTS
        ]
        best = int(np.argmin(losses))
        assert place["shift_at_minimum"] == SHIFTS[best]
        assert place["lowest_loss"] == pytest.approx(losses[best], rel=1e-6)
        assert place["own_loss"] == pytest.approx(losses[SHIFTS.index(0)], rel=1e-6)
        assert place["own_gap"] == pytest.approx(np.linalg.norm(reference.gap(x, y)))
        moved = reference.shifted(x, y, SHIFTS[best])
        assert abs(place["gap_at_minimum"]) == pytest.approx(np.linalg.norm(reference.gap(*moved)))


def test_the_meter_puts_texts_and_prompts_under_the_map():
    model = training_pairs.load("small", None, 3, "cpu")
    corpus = training_pairs.scenes(model, 40, 40, 0, "full")
    turn = procrustes.orthogonal_map(*embeddings(model, corpus.training))
    absorbed = replace(model, model=procrustes.absorbed(model.model, turn).eval())
    meters = (Meter(model, corpus, 20, turn), Meter(absorbed, corpus, 20), Meter(model, corpus, 20))
    beside, inside, without = (meter(0)["held_out"] for meter in meters)
    assert beside == pytest.approx(inside, abs=1e-4)
    assert beside["gap_distance"] < 0.5 < without["gap_distance"]


def test_a_finished_run_is_taken_up_and_another_or_a_damaged_one_is_not(tmp_path, monkeypatch):
    first = run(SHORT, tmp_path / "a")
    trained = []
    monkeypatch.setattr(training_runs, "train", lambda *a, **k: trained.append(k["description"]) or 1 / 0)
    again = run(SHORT, tmp_path / "b")
    assert again.tables[""].equals(first.tables[""]) and not trained
    (kept,) = (tmp_path / "cache" / "training").glob("*.json")
    kept.write_text(kept.read_text()[:-9])
    for other in (SHORT, replace(SHORT, learning_rate=1e-3), replace(SHORT, pairs=33)):
        with pytest.raises(ZeroDivisionError):
            run(other, tmp_path / "c")
    assert trained == ["temperature 1/10, trained, seed 0"] * 3


def test_a_stopped_run_goes_on_and_ends_with_the_same_numbers(tmp_path, monkeypatch):
    settings, call = replace(SHORT, evaluations=3), Meter.__call__
    with monkeypatch.context() as patch:
        patch.setenv("MODALITY_GAP_DATA", str(tmp_path / "another cache"))
        whole = run(settings, tmp_path / "a")
    monkeypatch.setattr(Meter, "__call__", lambda self, step: 1 / 0 if step == 3 else call(self, step))
    with pytest.raises(ZeroDivisionError):
        run(settings, tmp_path / "b")
    assert not (tmp_path / "b").exists() and list((tmp_path / "cache" / "training").glob("*/step-*"))
    seen = []
    monkeypatch.setattr(Meter, "__call__", lambda self, step: seen.append(step) or call(self, step))
    after = run(settings, tmp_path / "b")
    assert seen == [0, 3], "steps 1 and 2 are in the checkpoint"
    assert after.tables[""].equals(whole.tables[""]) and after.tables["landscape"].equals(whole.tables["landscape"])
    assert not list((tmp_path / "cache" / "training").glob("*/*")), "checkpoints go once the numbers are kept"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 65, "pairs": 64}, "batch of 65 pairs is larger than the corpus of 64"),
        ({"temperatures": (0.1, 0.0)}, "temperature must be above 0"),
        ({"learned_from": -1.0}, "temperature must be above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"seeds": 0}, "--seeds"),
        ({"held_out": 1}, "--held-out"),
        ({"temperatures": ()}, "--temperatures"),
        ({"loss": "l2"}, "loss must be one of info_nce"),
        ({"coco": Path("coco")}, "reads only the words of generated scenes"),
        ({"pretrained": "openai"}, "--pretrained only applies to open_clip's models"),
        ({"preset": "paper"}, "--coco DIR"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_trained(changes, said, tmp_path, monkeypatch):
    monkeypatch.setattr(training_runs, "train", lambda *a, **k: pytest.fail("trained"))
    monkeypatch.setattr(training_pairs, "load", lambda *a, **k: None)
    with pytest.raises(UserError, match=said):
        run(replace(SHORT, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_users_error_is_one_line_and_exit_code_2(tmp_path, capsys):
    said = smoke_runs.refusal(script, ["--temperatures", "0"], tmp_path / "out", capsys)
    assert said.startswith("error: temperature must be above 0")


def test_a_loss_that_diverges_stops_with_its_step(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, s: x.sum() * np.nan)
    with pytest.raises(UserError, match="the loss is nan at step 0"):
        run(SHORT, tmp_path / "out")


@pytest.fixture
def tiny(tmp_path):
    """A tiny open_clip model by name, its weights in a file, and a COCO folder of three photographs in both splits."""
    weights = open_clip_pair.load("tiny", seed=7, device="cpu").model.state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "tiny.safetensors")
    coco = write_folder(tmp_path / "coco", "train2017")
    held_out = write_folder(tmp_path / "held out", "val2017")
    for part in ("val2017", "annotations/captions_val2017.json"):
        (held_out / part).rename(coco / part)
    return replace(
        script.PRESETS["paper"], coco=coco, model="tiny", pretrained=str(tmp_path / "tiny.safetensors"), pairs=3,
        held_out=3, batch=2, seeds=1, steps=2, evaluations=2, temperatures=(0.1, 0.01),
    )  # fmt: skip


def test_the_paper_preset_runs_on_a_local_coco_folder(tiny, tmp_path):
    record = run(tiny, tmp_path / "out")
    assert record.tables[""].groupby(["experiment", "temperature", "initialization"]).size().tolist() == [3] * 6
    assert record.about["data"][0]["held_out"]["split"] == "val2017"
    assert record.about["left_out"] == ["zero-shot accuracy: the photographs have no classes"]
    assert record.tables[""]["zero_shot_accuracy"].isna().all()
    assert record.about["settings"]["weight_decay"] == 0.2 and record.about["results"]["generated"] is False
    judged = [row for row in record.about["comparisons"] if isinstance(row["published"], float)]
    assert judged and all(row["agrees"] is None for row in judged), "a tiny model is not the paper's"


def test_without_trained_weights_the_rest_is_run_and_what_is_left_out_is_said(tiny, tmp_path, monkeypatch):
    load = training_pairs.load

    def offline(model, pretrained, seed, device):
        if seed is None:
            raise UserError("weights could not be loaded from the hub")
        return load(model, pretrained, seed, device)

    monkeypatch.setattr(training_pairs, "load", offline)
    record = run(tiny, tmp_path / "out")
    assert set(record.tables[""]["experiment"]) == {"initialization"}
    assert record.about["left_out"][0] == "temperature: weights could not be loaded from the hub"
    with pytest.raises(UserError, match="could not be loaded from the hub"):
        run(replace(tiny, experiments=("temperature",)), tmp_path / "none")


def test_weights_that_are_misspelt_are_refused(tiny, tmp_path):
    with pytest.raises(UserError, match=r"unknown pretrained tag.*missing\.pt"):
        run(replace(tiny, pretrained=str(tmp_path / "missing.pt")), tmp_path / "out")


def test_pictures_are_the_models_own_preprocessing_in_whole_numbers(tiny, rng):
    pair = open_clip_pair.load("tiny", seed=0, device="cpu")
    model = training_pairs.load("tiny", None, 0, "cpu")
    picture = Image.fromarray(rng.integers(0, 256, (40, 57, 3), dtype=np.uint8))
    pixels = torch.from_numpy(model.pixels(picture).copy())[None]
    assert pixels.dtype == torch.uint8
    assert torch.allclose(model.prepare(pixels), pair.non_text.prepare([picture]), atol=1e-6)
    assert all(p.requires_grad for p in model.model.parameters())


def test_photographs_that_cannot_be_read_are_left_out(tiny):
    broken = sorted((tiny.coco / "train2017").iterdir())[1:]
    broken[0].write_bytes(broken[0].read_bytes()[:40])
    model = training_pairs.load("tiny", None, 0, "cpu")
    corpus = training_pairs.photographs(model, tiny.coco, 3, 3)
    assert len(corpus.training) == 2 and broken[0].name in corpus.about["data"]["skipped"][0]
    whole = training_pairs.photographs(model, tiny.coco, 3, 2).held_out
    assert len(whole) == 2 and whole.images.dtype == torch.uint8 and not torch.equal(whole.images[0], whole.images[1])
    broken[1].write_bytes(b"")
    with pytest.raises(UserError, match="1 photographs can be read; two are needed"):
        training_pairs.photographs(model, tiny.coco, 3, 3)


def test_what_photographs_lack_is_said_before_the_first_is_decoded(tiny, monkeypatch):
    model = training_pairs.load("tiny", None, 0, "cpu")
    monkeypatch.setattr(Readable, "__iter__", lambda self: pytest.fail("decoded"))
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"900,000.0 GB of memory .*lower --pairs"):
        large = np.broadcast_to(np.uint8(0), (3, 10**7, 10**7))
        patch.setattr(training_pairs.Trainable, "pixels", lambda self, picture: large)
        training_pairs.photographs(model, tiny.coco, 3, 3)
    (tiny.coco / "val2017").rename(tiny.coco / "elsewhere")
    with pytest.raises(UserError, match="val2017: 3 of the 3 captioned photographs are missing"):
        training_pairs.photographs(model, tiny.coco, 3, 3)


def test_the_figure_draws_what_was_run_and_says_what_was_not(smoke):
    only = {name: table[table["experiment"] == "initialization"] for name, table in smoke.tables.items()}
    figure = training_figure.draw(replace(smoke, tables=only))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts.count("not run") == 3 and "embedded preset" in figure.get_suptitle()


def test_the_short_run_is_short_in_the_embedded_preset_only():
    short, paper = script.short(script.PRESETS["embedded"]), script.PRESETS["paper"]
    assert (short.steps, short.seeds, short.evaluations, short.held_out) == (20, 2, 2, 300)
    assert script.short(paper) == paper
