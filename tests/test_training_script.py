"""Section 4's training runs: the script, what it measures, its faults, and the paper preset on few photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy import stats

import reference
import scripts
import smoke_runs
import training_claims
import training_runs
from contrary import training_tables
from picture_files import write_coco
from tiny_encoders import tiny_models  # noqa: F401  (registers the tiny models)
from training_runs import SHIFTS, Meter, embeddings, landscape, recall_at_1
from util import UserError, geometry, published
from util.corpora import tasks
from util.corpora.captioned import Readable
from util.encoders.named import Named
from util.training import LOSSES

pytestmark = pytest.mark.usefixtures("own_cache")

script = scripts.load("training.py")


def run(settings, folder):
    with smoke_runs.undrawn():
        return script.run(replace(settings, output=folder))


CONTRACT = ["experiment", "seed", "temperature", "initialization", "step", "gap_distance", "loss"]
CONTRACT += ["image_recall_at_1", "text_recall_at_1"]
SHORT = replace(
    script.PRESETS["smoke"], temperatures=(0.1,), experiments=("temperature",), pairs=32, held_out=16, steps=3, batch=8
)


def test_the_tables_hold_every_run_at_every_measurement(smoke):
    table, landscape, summary = (smoke.tables[what] for what in ("", "landscape", "summary"))
    assert list(table.columns[:9]) == CONTRACT
    runs = ["experiment", "temperature", "initialization", "learning_rate", "weight_decay"]
    assert table.groupby(runs)["step"].apply(list).tolist() == [[0, 1, 4]] * 6
    assert set(table["initialization"]) == {"trained", "original", "amended"}
    gaps = table[["gap_distance", "zero_shot_gap_distance"]].stack()
    assert gaps.between(0, 2).all() and np.isclose(table["tau"], table["temperature"]).all()
    assert table[[*CONTRACT[7:], "zero_shot_accuracy"]].stack().between(0, 1).all()
    assert len(landscape) == 2 * len(summary) == 12, "every model at every temperature"
    assert (landscape["lowest_loss"] <= landscape["own_loss"]).all()
    ends = table.groupby(runs)["gap_distance"].last()
    assert np.allclose(ends, landscape.groupby(runs)["own_gap"].first(), atol=1e-6)
    first = summary.set_index("initialization")["gap_before"]
    assert first["amended"] < 0.5 < first["original"].min(), "the amended texts start near the images"


def test_the_record_says_what_was_measured_and_on_what(smoke):
    assert [part["experiment"] for part in smoke.about["data"]] == ["temperature", "initialization", "learning_rate"]
    assert smoke.about["data"][0]["zero_shot"]["data"] == "generated handwritten digits"
    assert "full description" in smoke.about["data"][1]["caption_rule"]
    rows = {row["key"].removeprefix(training_claims.PREFIX): row for row in smoke.about["comparisons"]}
    numbers = [row for row in rows.values() if isinstance(row["published"], float) and not row["own"]]
    assert len(numbers) == 5 * 2 + 2 + 5 and all(row["agrees"] is None for row in numbers)
    assert rows["claims.grows"]["agrees"] is not None
    for claim in ("amended_grows", "original_rises", "amended_below"):
        row = rows[f"claims.{claim}"]
        assert row["agrees"] is None and "not judged, for not every model has learned anything" in row["note"]
    assert rows["learning_rate.paths"]["ours"].count(";") == 1


CLAIMED = {
    ("temperature", 1.0, "trained"): (0.1, 0.2, 0.1),
    ("temperature", 0.1, "trained"): (0.3, 0.3, 0.3),
    ("temperature", 0.01, "trained"): (0.8, 0.9, 0.85),
    ("initialization", 0.01, "original"): (1.3, 1.2, 1.25),
    ("initialization", 0.01, "amended"): (0.6, 0.5, 0.55),
}
PAPERS = {("temperature", tau, "trained"): (0.9 - tau,) * 3 for tau in training_claims.PAPER_TEMPERATURES}


def claims(gaps, same=False, **changes):
    """Comparisons by the rest of their key, of made-up runs that end with these gaps; changes of the summary."""
    found = training_claims.compare(training_tables(gaps, **changes), "here", same, epoch=2)
    return {each.key.removeprefix(training_claims.PREFIX): each for each in found}


def test_every_published_number_has_its_comparison():
    found, rates = claims({**CLAIMED, **PAPERS}, same=True), {"learning_rate.paths"}
    keys = {key.removeprefix(training_claims.PREFIX) for key in published.numbers("section_4_training.")}
    assert set(found) | rates == keys


def test_claims_hold_where_they_do():
    found = claims(CLAIMED)
    judged = {key: row.agrees for key, row in found.items() if row.agrees is not None and not row.own}
    assert judged == {f"claims.{name}": True for name in ("grows", "amended_grows", "amended_below", "original_rises")}
    assert found["claims.grows"].ours == "at 6 of 6 steps down, over 3 seeds"
    assert found["claims.amended_grows"].ours == "5.5 times, +0.450 (95% Student t, 3 seeds: +0.326 to +0.574)"
    assert found["claims.own_minimum"].ours == "6 of 9" and found["claims.minimum_below"].ours == "9 of 9"
    assert "sign test, were the models independent: p = 3.9e-03" in found["claims.minimum_below"].note
    assert found["other_data.steps"].ours == "0 of 6" and found["other_data.below"].ours == "9 of 9"
    coldest = found["temperature_fine_tuning.gap_distance.5"]
    assert (coldest.published, coldest.ours, coldest.agrees) == (1.0006, pytest.approx(0.85), None)
    assert (coldest.low, coldest.high) == pytest.approx(stats.t.interval(0.95, 2, 0.85, 0.05 / 3**0.5))
    start = found["temperature_fine_tuning.before.gap_distance"]
    assert start.ours == pytest.approx(0.1) and start.low is None, "all seeds start from one model"
    unlearned = claims(CLAIMED, loss=3.95)["claims.amended_grows"]
    assert unlearned.agrees is None and "by chance 4.00: not judged" in unlearned.note


@pytest.mark.parametrize(
    ("which", "gaps", "claim"),
    [
        (("temperature", 0.1, "trained"), (0.3, 0.95, 0.3), "grows"),
        (("initialization", 0.01, "amended"), (0.6, 0.05, 0.5), "amended_grows"),
        (("initialization", 0.01, "original"), (1.3, 0.45, 1.2), "amended_below"),
    ],
)
def test_a_claim_fails_where_one_seed_breaks_it(which, gaps, claim):
    found = {key: row.agrees for key, row in claims({**CLAIMED, which: gaps}).items()}
    assert found[f"claims.{claim}"] is False and found["claims.original_rises"] is (claim != "amended_below")


def test_the_papers_own_settings_are_judged_by_its_numbers_and_after_one_epoch():
    ends = {("temperature", 0.01, "trained"): (1.0, 1.06, 1.03), ("temperature", 1.0, "trained"): (0, 0.1, 0.2)}
    found = claims({**CLAIMED, **ends}, same=True)
    gaps = [found[f"temperature_fine_tuning.gap_distance.{k}"].agrees for k in (0, 5)]
    assert gaps == [False, True] and found["temperature_fine_tuning.text_to_image_recall_at_1.5"].agrees is False
    assert found["initialisation_and_optimisation.original_trained"].agrees is True
    assert all(row.own for row in found.values())
    made = training_tables(PAPERS)
    made[""].loc[made[""]["step"] == 2, "gap_distance"] = 0.5
    for same in (True, False):
        (grows,) = [each for each in training_claims.compare(made, "", same, epoch=1) if "claims.grows" in each.key]
        assert grows.agrees is same, "others are judged at the end"
    paper = script.PRESETS["paper"]
    assert script.is_the_papers(replace(paper, coco=Path("coco"), seeds=2, device="cuda", data=Path("data")))
    for change in ({"model": "open_clip:ViT-B-32:openai"}, {"preset": "embedded"}, {"batch": 32}, {"steps": 1}):
        assert not script.is_the_papers(replace(paper, **change))


def test_tolerances_follow_from_the_published_numbers():
    """As their reasons say, so that none is wider than what it judges."""
    seeds, tuned = training_claims.seeds_of_the_paper(), training_claims.tuned_by_the_paper()
    mean = "initialisation_and_optimisation."
    wide = stats.t.ppf(0.975, 2) * (2 / 3) ** 0.5
    expected = {mean + name: wide * np.std(gaps, ddof=1) for name, gaps in seeds.items()}
    limits = training_claims.ratio(seeds["amended_trained"], seeds["original_trained"])[1]
    expected[mean + "amended_to_original"] = (limits["high"] - limits["low"]) / 2**0.5
    for name in ("gap_distance", "cifar10_gap_distance"):
        expected[f"temperature_fine_tuning.{name}.0"] = abs(np.diff(tuned[name])).min() / 2
    for key, value in expected.items():
        tolerance = published.numbers()[training_claims.PREFIX + key].judged_by.tolerance
        assert tolerance == pytest.approx(value, abs=6e-5), key
    assert training_claims.threshold("own_minimum") == pytest.approx(2 * (SHIFTS[1] - SHIFTS[0]))


def test_what_the_papers_numbers_imply_is_checked():
    derived = {key: row for key, row in claims(CLAIMED).items() if key.startswith("derived.")}
    steps = ("mscoco_steps", "cifar10_steps", "cifar10_below")
    assert [derived.pop(f"derived.{name}").ours for name in steps] == [5, 4, 6]
    assert all(row.agrees and row.own for row in derived.values()) and len(derived) == 5
    assert derived["derived.amended_to_original"].ours == pytest.approx(0.574013, abs=1e-6)
    assert derived["derived.half_width.amended_trained"].ours == pytest.approx(0.063304, abs=1e-6)


def test_a_minimum_past_each_other_is_as_far_as_it_is():
    """A signed gap of -0.9 is larger, not smaller, than a model's own 0.5."""
    table = pd.DataFrame({"evaluated_temperature": [0.1, 0.1, 0.01], "gap_at_minimum": [-0.9, 0.2, 0.45]})
    table = table.assign(temperature=0.01, own_gap=0.5)
    own, below, hotter = training_claims._minima(table)
    assert own[1] == below[1] == "1 of 1" and "1 of all 3 minima lie at a gap below -0.1" in own[3]
    assert hotter[1] == "1 of 2"


def test_recall_is_named_by_who_asks():
    """Each image is nearest to its own text, and text 1 is nearest to image 0."""
    texts = np.array([[1.0, 0, 0], [0.9, 0.1**0.5, 0.3], [0, 0, 1.0]])
    assert recall_at_1(np.eye(3), texts) == (1, pytest.approx(2 / 3))
    assert recall_at_1(texts, np.eye(3)) == (pytest.approx(2 / 3), 1)


def test_the_landscape_is_the_sweep_of_the_definition(rng):
    x, y = reference.pairs(rng, 24, 5)
    for place in landscape(x, y, [1.0, 0.05], 8):
        tau = place["evaluated_temperature"]
        losses = [reference.loss(*reference.shifted(x, y, shift), tau, 8) for shift in SHIFTS]
        best = int(np.argmin(losses))
        assert place["shift_at_minimum"] == SHIFTS[best]
        assert place["lowest_loss"] == pytest.approx(losses[best], rel=1e-6)
        assert place["own_loss"] == pytest.approx(losses[SHIFTS.index(0)], rel=1e-6)
        assert place["own_gap"] == pytest.approx(np.linalg.norm(reference.gap(x, y)))
        moved = reference.shifted(x, y, SHIFTS[best])
        assert abs(place["gap_at_minimum"]) == pytest.approx(np.linalg.norm(reference.gap(*moved)))


def test_the_meter_puts_texts_and_prompts_under_the_map():
    model = training_runs.load("small-clip", 3, "cpu")
    corpus = training_runs.scenes(model, 40, 40, 0, "full")
    turn = geometry.orthogonal_map(*embeddings(model, corpus.training))
    beside, without = (Meter(model, corpus, 20, each, {0})(0)["held_out"] for each in (turn, None))
    assert beside["gap_distance"] < 0.5 < without["gap_distance"]
    x, y = embeddings(model, corpus.held_out)
    assert beside["gap_distance"] == pytest.approx(np.linalg.norm(reference.gap(x, y @ turn)), rel=1e-4)
    pictures, prompts = model.encode(corpus.task.pictures), model.encode(corpus.task.prompts) @ turn
    assert beside["zero_shot_gap_distance"] == pytest.approx(np.linalg.norm(reference.gap(pictures, prompts)), rel=1e-4)
    assert beside["zero_shot_accuracy"] == ((pictures @ prompts.T).argmax(1) == corpus.task.labels).mean()
    assert Meter(model, corpus, 20, None, {3})(0) == {}


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 65, "pairs": 64}, "batch of 65 pairs is larger than the corpus of 64"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"seeds": 0}, "--seeds"),
        ({"held_out": 1}, "--held-out"),
        ({"temperatures": ()}, "--temperatures"),
        ({"temperatures": (0.0,)}, "temperature must be above 0"),
        ({"coco": Path("coco")}, "reads only the words of generated scenes"),
        ({"preset": "paper"}, "--coco DIR"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_trained(changes, said, tmp_path, monkeypatch):
    monkeypatch.setattr(training_runs, "train", lambda *a, **k: pytest.fail("trained"))
    monkeypatch.setattr(training_runs, "load", lambda *a, **k: None)
    with pytest.raises(UserError, match=said):
        run(replace(SHORT, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_diverges_stops_with_its_step(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, s: x.sum() * np.nan)
    with pytest.raises(UserError, match=r"the loss is nan, .* at step 0"):
        run(SHORT, tmp_path / "out")


def test_the_figure_draws_what_was_run_and_says_what_was_not(smoke):
    only = {name: table[table["experiment"] == "initialization"] for name, table in smoke.tables.items()}
    pictures = [draw(replace(smoke, tables=only)) for draw in (training_claims.draw, training_claims.draw_random)]
    not_run = [[text.get_text() for ax in each.axes for text in ax.texts].count("not run") for each in pictures]
    assert not_run == [3, 0] and "embedded preset" in pictures[0].get_suptitle()


@pytest.fixture
def tiny(tmp_path):
    """A tiny open_clip model by name, its weights in a file, and a COCO folder of three photographs in both splits."""
    weights = Named.parse("tiny").pair(7, "cpu").model.state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "tiny.safetensors")
    coco = write_coco(tmp_path / "coco", "train2017")
    held_out = write_coco(tmp_path / "held out", "val2017")
    for part in ("val2017", "annotations/captions_val2017.json"):
        (held_out / part).rename(coco / part)
    for number, name in enumerate(tasks.read()["cifar10"].class_names):
        (folder := tmp_path / "data" / "cifar10" / "test" / name).mkdir(parents=True)
        Image.fromarray(np.full((32, 32, 3), 20 * number, np.uint8)).save(folder / "0.png")
    return replace(
        script.PRESETS["paper"], coco=coco, model=f"open_clip:tiny:{tmp_path / 'tiny.safetensors'}", pairs=3,
        held_out=3, batch=2, seeds=1, steps=2, random_steps=2, temperatures=(0.1, 0.01), data=tmp_path / "data",
    )  # fmt: skip


def test_the_paper_preset_runs_on_a_local_coco_folder_and_classifies_cifar10(tiny, tmp_path):
    record = run(tiny, tmp_path / "out")
    table = record.tables[""]
    steps = table.groupby(["experiment", "temperature", "initialization"])["step"].apply(list)
    assert steps.tolist() == [[0, 1, 2]] * 4
    assert record.about["data"][0]["held_out"]["split"] == "val2017" and record.about["left_out"] == []
    assert record.about["data"][0]["zero_shot"]["n"] == 10
    assert set(np.round(10 * table["zero_shot_accuracy"], 6) % 1) == {0} and (table["zero_shot_gap_distance"] > 0).all()
    assert record.about["settings"]["weight_decay"] == 0.2 and record.about["results"]["generated"] is False
    numbers = [row for row in record.about["comparisons"] if isinstance(row["published"], float) and not row["own"]]
    assert any("cifar10_accuracy" in row["key"] for row in numbers)
    assert all(row["agrees"] is None for row in numbers), "a tiny model is not the paper's"


def test_the_prompts_of_cifar10_are_the_papers(tiny):
    model = training_runs.load("open_clip:tiny", 0, "cpu")
    corpus = training_runs.photographs(model, tiny.coco, 3, 3)
    task = training_runs.with_task(corpus, model, tiny.data).task
    assert torch.equal(task.prompts[3], model.tokenize(["a photo of a cat."])[0])
    assert task.labels.tolist() == [*range(10)]
    assert task.pictures.shape == (10, *corpus.held_out.images.shape[1:])


def test_without_trained_weights_the_rest_is_run_and_what_is_left_out_is_said(tiny, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"unknown pretrained tag.*missing\.pt"):
        run(replace(tiny, model=f"open_clip:tiny:{tmp_path / 'missing.pt'}"), tmp_path / "misspelt")
    with pytest.raises(UserError, match="unknown to training: huggingface:a/b; it takes small-clip"):
        run(replace(tiny, model="huggingface:a/b"), tmp_path / "other kind")
    load = training_runs.load

    def offline(model, seed, device):
        if seed is None:
            raise UserError("weights could not be loaded from the hub")
        return load(model, seed, device)

    monkeypatch.setattr(training_runs, "load", offline)
    (tiny.data / "cifar10" / "test" / "cat").rename(tiny.data / "cifar10" / "test" / "lion")
    record = run(tiny, tmp_path / "out")
    assert set(record.tables[""]["experiment"]) == {"initialization"}
    said = record.about["left_out"]
    assert said[0] == "temperature: weights could not be loaded from the hub"
    assert said[1].startswith("zero-shot classification: ") and "lion" in said[1]
    assert record.tables[""]["zero_shot_accuracy"].isna().all()
    with pytest.raises(UserError, match="could not be loaded from the hub"):
        run(replace(tiny, experiments=("temperature",)), tmp_path / "none")


def test_pictures_are_the_models_own_preprocessing_in_whole_numbers(tiny, rng):
    pair = Named.parse("tiny").pair(0, "cpu")
    model = training_runs.load("open_clip:tiny", 0, "cpu")
    picture = Image.fromarray(rng.integers(0, 256, (40, 57, 3), dtype=np.uint8))
    pixels = torch.from_numpy(model.pixels(picture).copy())[None]
    assert pixels.dtype == torch.uint8
    assert torch.allclose(model.prepare(pixels), pair.non_text.prepare([picture]), atol=1e-6)
    assert all(p.requires_grad for p in model.model.parameters())


def test_photographs_that_cannot_be_read_are_left_out(tiny):
    broken = sorted((tiny.coco / "train2017").iterdir())[1:]
    broken[0].write_bytes(broken[0].read_bytes()[:40])
    model = training_runs.load("open_clip:tiny", 0, "cpu")
    corpus = training_runs.photographs(model, tiny.coco, 3, 3)
    assert len(corpus.training) == 2 and broken[0].name in corpus.about["data"]["skipped"][0]
    whole = training_runs.photographs(model, tiny.coco, 3, 2).held_out
    assert len(whole) == 2 and whole.images.dtype == torch.uint8 and not torch.equal(whole.images[0], whole.images[1])
    broken[1].write_bytes(b"")
    with pytest.raises(UserError, match="1 photographs can be read; two are needed"):
        training_runs.photographs(model, tiny.coco, 3, 3)


def test_what_photographs_lack_is_said_before_the_first_is_decoded(tiny, monkeypatch):
    model = training_runs.load("open_clip:tiny", 0, "cpu")
    monkeypatch.setattr(Readable, "__iter__", lambda self: pytest.fail("decoded"))
    (tiny.coco / "val2017").rename(tiny.coco / "elsewhere")
    with pytest.raises(UserError, match="val2017: 3 of the 3 captioned pictures are missing"):
        training_runs.photographs(model, tiny.coco, 3, 3)
