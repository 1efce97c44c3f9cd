"""Figure 2 (c): cones of random initializations, embeddings over seeds, and the variance that the seed explains."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

import encoder_inputs as inputs
import reference
import scripts
import smoke_runs
import theorem_2 as variance
from encoder_inputs import VISION, EncoderOptions, Gathered, label
from picture_files import write_coco
from refusals import refuses
from tiny_encoders import MAKERS, tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError, published
from util.encoders.named import Named
from util.encoders.tower import Tower

script = scripts.load("Figure_2_Cone_Effect/initializations.py")
SMALL = "ViT-S-32-alt vision"


def test_tables_have_the_contracts_columns_and_every_encoder_on_both_inputs(smoke):
    table, points = smoke.tables[""], smoke.tables["points"]
    wanted = ["encoder", "input", "n_seeds", "n", "within_cosine", "between_cosine", "explained_by_seed"]
    assert list(table.columns)[:7] == wanted
    assert list(points.columns) == ["encoder", "input", "seed", "item", "method", "x", "y"]
    inputs = table.groupby("encoder")["input"].nunique()
    assert inputs.to_dict() == {"ResNet-18": 2, SMALL: 2, "ViT-S-32-alt text": 2, "ResNet-50": 1}
    counts = points.groupby(["encoder", "input", "method"]).size().unstack()
    assert (counts["umap"] == counts["pca"]).all()
    expected = table.set_index(["encoder", "input"])[["n_seeds", "n"]].prod(axis=1)
    assert (counts["pca"].sort_index() == expected.sort_index()).all()


def test_seeds_have_different_cones(smoke):
    table = smoke.tables[""]
    assert (table["within_cosine"] > table["between_cosine"] + 0.1).all()
    noise = table[table["input"] == "noise"].set_index("encoder")
    assert noise["within_cosine"][SMALL] > 0.9
    assert abs(noise["between_cosine"][SMALL]) < 0.1
    assert noise["explained_by_seed"]["ResNet-18"] > 0.99
    assert smoke.about["results"]["least_within_minus_between"] > 0.1


def one_encoder(values, name="MSCOCO val2017", n=5000, seeds=25, nearest=1.0):
    """Comparisons of the vision tower with these singular values."""
    about = {"encoder": VISION, "input": name}
    values = np.asarray(values, float)
    spectrum = {"component": range(1, len(values) + 1), "singular_value": values}
    spectrum["explained_variance_ratio"] = values**2 / (values**2).sum()
    table = pd.DataFrame([{**about, "n": n, "n_seeds": seeds, "nearest_own_cone": nearest}])
    return {row.key: row for row in script.compare(table, pd.DataFrame({**about, **spectrum}))}


@pytest.mark.parametrize(
    "name, n, judged", [("MSCOCO val2017", 5000, True), ("MSCOCO val2017", 8, False), ("MSCOCO train2017", 5000, False)]
)
def test_spectra_stand_beside_the_published_ones_and_are_judged_on_the_papers_data_alone(name, n, judged):
    theirs = published.values()["figure_2c"]["singular_values"][VISION]
    found = one_encoder(theirs, name, n)
    keys = [key for key in published.numbers(script.KEY) if key.endswith("vision") or "_vision." in key]
    assert len(keys) == 13 and set(found) == {*keys, "figure_2c.drop", "figure_2c.separate.real"}
    assert all(row.own is judged for row in found.values())
    assert found["figure_2c.drop"].ours == "after component 24, 1.46 times" and found["figure_2c.drop"].agrees
    assert found["figure_2c.ratio_24_to_25.vision"].agrees is (True if judged else None)
    first = found["figure_2c.pca_explained_variance_ratio_vision.0"]  # of the 90% in 50 components, so too large
    assert first.agrees is (False if judged else None)


def test_other_seeds_have_no_spectrum_to_compare_their_drop_is_elsewhere_and_cones_that_mix_are_not_separate():
    found = one_encoder([5, 4, 1, 0.9, 0.8, 0.1], "noise", seeds=3)
    assert set(found) == {"figure_2c.separate.noise"} and not found["figure_2c.separate.noise"].own
    found = one_encoder([5, 4, 1, 0.9, 0.8, 0.1], seeds=3)
    assert set(found) == {"figure_2c.separate.real", "figure_2c.drop"}
    assert found["figure_2c.drop"].agrees and found["figure_2c.drop"].ours.startswith("after component 2,")
    for nearest, agrees in ((1.0, True), (0.991, True), (0.98, False)):
        assert one_encoder([3, 2, 1], seeds=3, nearest=nearest)["figure_2c.separate.real"].agrees is agrees


def test_trained_resnets_come_from_checkpoint_files_by_the_same_code(tmp_path, monkeypatch):
    """Two networks of another size in the files' layout; a third file that is none is one line."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(script, "ARCHITECTURE", "resnet18")
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = torchvision.models.resnet18()
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 1}, tmp_path / f"{seed}.pth.tar")
    files = tuple(str(tmp_path / f"{seed}.pth.tar") for seed in (0, 1))
    gathered = Gathered(replace(script.PRESETS["smoke"], imagenet=files, images=3), "cpu")
    pictures = [each for each in gathered.real() if each.modality == "image"]
    ((about, rows),) = script.resnets(gathered, pictures).items()
    random = [each.rows for each in gathered.rows(script.RESNET_18, pictures)]
    assert about == ("ResNet-50, trained", pictures[0].name) and np.allclose(rows, random[:2], atol=1e-6)
    table = pd.DataFrame([{"encoder": about[0], "input": about[1], "n_seeds": 2, "n": 3, "nearest_own_cone": 1.0}])
    (row,) = script.compare(table, pd.DataFrame())
    assert row.key == "figure_2c.separate.trained" and row.agrees and not row.own
    (tmp_path / "0.pth.tar").write_bytes(b"no weights")
    with pytest.raises(UserError, match="could not be loaded"):
        script.resnets(gathered, pictures)


def test_the_spectrum_is_that_of_all_centred_rows_however_few_are_shown(rng):
    rows, settings = reference.unit(rng.normal(size=(12, 6)) + 1), replace(script.PRESETS["smoke"], points=2)
    points, spectrum = script.views({("an encoder", "noise"): rows.reshape(3, 4, 6)}, settings)
    assert points.groupby(["method", "seed"]).size().eq(2).all()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert spectrum["singular_value"].to_numpy() == pytest.approx(values, rel=1e-9)
    assert spectrum["explained_variance_ratio"].to_numpy() == pytest.approx(values**2 / (values**2).sum(), rel=1e-9)


test_bad_input_is_one_line_and_leaves_no_file = smoke_runs.refuses(
    script,
    (("--seeds", "1"), "--seeds"),
    (("--points", "1"), "--points"),
    (("--imagenet", "a1_in1k"), "--imagenet must name two models"),
)


def values(result):
    return [result.within_cosine, result.between_cosine, result.explained_by_seed, result.explained_by_item]


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 3), (3, 30, 2)])
def test_nearest_own_cone_is_counted_with_every_row_left_out_of_its_own_mean(rng, shape):
    h, hits = rng.normal(size=shape) + rng.normal(size=(shape[0], 1, shape[2])), 0
    unit = h / np.linalg.norm(h, axis=2, keepdims=True)
    for seed, item in np.ndindex(shape[:2]):
        means = [np.delete(unit[s], item, 0).sum(0) if s == seed else unit[s].sum(0) for s in range(shape[0])]
        cosines = [unit[seed, item] @ mean / np.linalg.norm(mean) for mean in means]
        hits += int(np.argmax(cosines)) == seed
    assert hits > 0 and variance.seed_variance(h).nearest_own_cone == pytest.approx(hits / np.prod(shape[:2]))
    assert variance.seed_variance(np.stack([h[0], h[0]])).nearest_own_cone < 0.5, "one cone"


def test_a_two_by_two_table_by_hand():
    """Seed means 1.5 and 4.5, item means 2 and 4, residuals 1/2: MS 9, 4, 1; components 4, 1.5, 1 of 6.5."""
    result = variance.seed_variance(np.array([[[1.0], [2.0]], [[3.0], [6.0]]]))
    assert values(result) == pytest.approx([1, 1, 4 / 6.5, 1.5 / 6.5])


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 7, 3), (6, 2, 5), (5, 9, 4), (3, 40, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_closed_forms_are_the_definitions(rng, shape, dtype):
    h = (rng.normal(size=shape) + 2 * rng.normal(size=(shape[0], 1, shape[2])) + 3).astype(dtype)
    expected = reference.seed_variance(h)
    assert values(variance.seed_variance(h)) == pytest.approx(expected, abs=1e-9)
    assert values(variance.seed_variance(torch.from_numpy(h))) == pytest.approx(expected, abs=1e-9)
    assert variance.explained_fractions(h) == pytest.approx(expected[2:], abs=1e-9)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.sampled_from([1e-160, 1.0, 1e150]))
def test_fractions_ignore_order_scale_rotation_and_a_shift_of_all_rows(seed, spread, scale):
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(4, 5, 3)) + spread * rng.normal(size=(4, 1, 3))
    turned = h @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + rng.normal(size=3)
    moved = turned[rng.permutation(4)][:, rng.permutation(5)] * scale
    assert variance.explained_fractions(moved) == pytest.approx(variance.explained_fractions(h), abs=1e-6)


@pytest.mark.parametrize("by_seed, by_item", [(0.3, 0.2), (0.0, 0.0)])
def test_the_correction_is_right_where_the_shares_are_known(rng, by_seed, by_item):
    """The uncorrected variance of the seed means is too large by a fourth of the rest; nothing is clipped at zero."""
    ours, naive, rest = [], [], 1 - by_seed - by_item
    for _ in range(400):
        parts = ((by_seed, (6, 1, 20)), (by_item, (1, 4, 20)), (rest, (6, 4, 20)))
        h = sum(np.sqrt(share) * rng.normal(size=shape) for share, shape in parts)
        ours.append(variance.explained_fractions(h))
        naive.append(h.mean(1).var(0, ddof=1).sum() / h.reshape(24, 20).var(0, ddof=1).sum())
    error = 4 * np.std(ours, axis=0).max() / 20 + 0.005
    assert np.mean(ours, axis=0) == pytest.approx([by_seed, by_item], abs=error)
    assert np.mean(naive) > by_seed + 0.1 and (np.min(ours) < 0) == (by_seed == 0)


def test_leaving_out_a_seed_is_leaving_out_a_seed(rng):
    h = rng.normal(size=(5, 6, 4)) + rng.normal(size=(5, 1, 4)) + 10
    before = h.copy()
    expected = [variance.explained_fractions(np.delete(h, seed, axis=0))[0] for seed in range(5)]
    assert variance.seed_fractions_left_out(h) == pytest.approx(expected, abs=1e-10)
    variance.seed_variance(h)
    assert np.array_equal(h, before), "the input is left as it was"
    assert all(np.isfinite(variance.explained_fractions(ZERO))), "a zero row has no direction, and a variance"


H = np.random.default_rng(0).normal(size=(3, 4, 5))
FIRST = np.array([True, False, False]).reshape(3, 1, 1)
ZERO = H * (np.arange(12).reshape(3, 4, 1) < 11)

test_what_cannot_be_measured_is_refused = refuses(
    (lambda: variance.seed_variance(H[:1]), "at least 2 seeds"),
    (lambda: variance.seed_variance(H[:, :1]), "at least 2 rows"),
    (lambda: variance.seed_variance(H[0]), "seeds, items, width"),
    (lambda: variance.seed_variance(H.tolist()), "seeds, items, width"),
    (lambda: variance.seed_variance(np.where(FIRST, H, np.nan)), "of seed 1 holds a value that is not finite"),
    (lambda: variance.seed_variance(ZERO), "row 3 is zero"),
    (lambda: variance.seed_variance(np.ones_like(H)), "all alike"),
    (lambda: variance.seed_variance(H.astype(complex)), "real numbers"),
    (lambda: variance.explained_fractions(ZERO[:, :1]), "at least 2 rows"),
    (lambda: variance.seed_fractions_left_out(ZERO[:2]), "at least 3 seeds"),
)


RESNET = Named("torchvision", "resnet18")


@pytest.fixture(autouse=True)
def cache(own_cache):
    return own_cache / "rows"


@pytest.fixture
def encoded(monkeypatch):
    """The seeds that inputs were encoded for."""
    seeds, encode = [], Tower.encode
    monkeypatch.setattr(Tower, "encode", lambda tower, *a: (seeds.append(tower.settings["seed"]), encode(tower, *a))[1])
    return seeds


def embed(named, what, seeds):
    return Gathered(EncoderOptions(), "cpu").embed(named, what, seeds)


def rows(seeds, *what):
    return {(r.inputs.name, r.seed): r.rows for r in embed(RESNET, what, seeds)}


def test_every_input_is_embedded_for_every_seed_and_once_only(encoded):
    what = inputs.noise("image", 2, 0), inputs.photograph_crops(3, 0), inputs.noise("text", 4, 0)
    first = rows([0, 1], *what)
    assert list(first) == [(n, s) for s in (0, 1) for n in ("noise", inputs.CROPS)]
    assert [len(r) for r in first.values()] == [2, 3, 2, 3]
    again = list(embed(RESNET, what, [0, 1, 2]))
    assert encoded == [0, 0, 1, 1, 2, 2]
    assert all(np.array_equal(first[each.inputs.name, each.seed], each.rows) for each in again[:4])
    assert {(each.settings["dtype"], each.settings["seed"]) for each in again} == {("float32", s) for s in (0, 1, 2)}


def test_a_stopped_run_goes_on_where_it_was_and_other_inputs_are_embedded_anew(encoded):
    noise = inputs.noise("image", 2, 0)
    steps = embed(RESNET, [noise], [0, 1, 2])
    for _ in range(2):
        next(steps)
    steps.close()
    rows([0, 1, 2], noise)
    assert encoded == [0, 1, 2]
    rows([0], inputs.noise("image", 2, 1), inputs.noise("image", 3, 0))
    assert encoded == [0, 1, 2, 0, 0]


def test_a_model_of_transformers_is_known_by_what_its_folder_holds(tmp_path, encoded):
    for part in MAKERS["clip"](tmp_path):
        part.save_pretrained(tmp_path / "clip")
    what, named = [inputs.noise("image", 2, 0), inputs.noise("text", 3, 0)], Named("huggingface", f"{tmp_path}/clip")
    first, again = ([each.rows for each in embed(named, what, [0, None])] for _ in range(2))
    assert len(encoded) == 4, "the second time from the cache"
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0], first[2], atol=1e-3), "random and trained weights differ"
    path = tmp_path / "clip" / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"do_normalize": true', '"do_normalize": false'))
    list(embed(named, what, [0]))
    assert len(encoded) == 6, "another configuration is another encoder"


def test_an_unreadable_photograph_is_counted_and_moves_no_other(tmp_path):
    whole, holed = (write_coco(tmp_path / name) for name in ("whole", "holed"))
    victim = holed / "val2017" / "000000000003.jpg"
    victim.write_bytes(victim.read_bytes()[:100])
    good, _ = inputs.mscoco(whole, 5, 5)
    bad, _ = inputs.mscoco(holed, 5, 5)
    a, b = rows([0], good)["MSCOCO val2017 photographs", 0], rows([0], bad)["MSCOCO val2017 photographs", 0]
    assert len(a) == 3
    assert np.allclose(a[[0, 2]], b, atol=1e-6)
    assert bad.describe()["skipped"][0].startswith("1: ")
    again, _ = inputs.mscoco(holed, 5, 5)
    assert len(rows([0], again)["MSCOCO val2017 photographs", 0]) == 2
    assert again.describe()["skipped"] == bad.describe()["skipped"], "the cache keeps what was left out"


def test_one_readable_photograph_has_no_pairs(tmp_path):
    folder = write_coco(tmp_path / "coco")
    for name in ("000000000003.jpg", "000000000009.jpg"):
        (folder / "val2017" / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"photographs: a cosine needs two inputs or more; the first of 2 left out"):
        rows([0], inputs.mscoco(folder, 5, 5)[0])


def test_a_folder_with_captions_alone_gives_those_that_are_not_empty(tmp_path):
    folder = write_coco(tmp_path / "coco")
    (folder / "val2017").rename(folder / "elsewhere")
    (captions,) = inputs.mscoco(folder, 5, 5)
    assert list(captions.items) == ["red, first", "green, only", "blue, first"]
    path = folder / "annotations" / "captions_val2017.json"
    path.write_text(path.read_text().replace("green, only", "   ").replace("red, first", ""))
    (captions,) = inputs.mscoco(folder, 5, 5)
    assert list(captions.items) == ["red, second", "blue, first"] and captions.describe()["n"] == 2


def test_photographs_come_from_the_split_that_the_folder_has_and_an_empty_one_is_refused(tmp_path):
    write_coco(tmp_path / "coco", "train2017")
    images, captions = inputs.mscoco(tmp_path / "coco", 5, 5)
    assert (images.name, captions.name) == ("MSCOCO train2017 photographs", "MSCOCO train2017 captions")
    with pytest.raises(UserError, match="no captions of split 'val2017'"):
        inputs.mscoco(tmp_path, 5, 5)


@pytest.mark.parametrize("counts", [{"images": 1}, {"captions": 1}])
def test_one_input_has_no_pairs(counts):
    with pytest.raises(UserError, match="must be a whole number of at least 2, not 1"):
        Gathered(EncoderOptions(**counts), "cpu")


def test_crops_are_those_of_the_seed_however_many():
    five, two, other = inputs.crops(5, 3), inputs.crops(2, 3), inputs.crops(2, 4)
    assert all(np.array_equal(a, b) for a, b in zip(five, two, strict=False))
    assert not np.array_equal(two[0], other[0])
    assert all(96 <= crop.width == crop.height <= 400 for crop in five)
    assert np.asarray(five[0]).std() > 5


def test_towers_have_the_papers_names_where_it_has_them():
    assert label(Named("torchvision", "resnet18"), "image") == "ResNet-18"
    assert label(Named("open_clip", "ViT-B-32-quickgelu"), "text") == "CLIP ViT-B/32 text"
    assert label(Named("open_clip", "RN50"), "image") == "RN50 vision"
    assert label(Named("python", "/somewhere/mine.py", "towers"), "image") == "mine vision"
    assert label(Named("open_clip", "hf-hub:org/name", "own"), "text") == "name text"
    assert label(Named("open_clip", "local-dir:folder", "own"), "image") == "folder vision"
