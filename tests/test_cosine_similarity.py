"""Figure 2 (a): the script, its record, and the published values inside the spread over seeds."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cosine_figure
import encoder_inputs
import scripts
import smoke_runs
from encoder_inputs import draw_noise
from picture_files import write_coco
from util import Embeddings, UserError, cli, geometry, published, records
from util.corpora.captioned import read_coco
from util.encoders import models
from util.encoders.named import Named
from util.numerics.statistics import prediction_interval
from util.reporting import comparisons

script = scripts.load("Figure_2_Cone_Effect/cosine_similarity.py")
COLUMNS = ["encoder", "weights", "input", "seed", "n", "mean", "std", "min", "q25", "median", "q75", "max"]
SMALL = "ViT-S-32-alt"
SEEDS = 4
measured = partial(smoke_runs.measured, script)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(smoke_runs.cache(tmp_path_factory)))


@pytest.fixture(scope="module")
def means_by_seed():
    """Mean cosines of the paper's encoders by seed: on noise, and texts on captions where there are some."""
    folder = os.environ.get("MODALITY_GAP_COCO")
    captions = None
    if folder and (Path(folder) / "annotations" / "captions_val2017.json").is_file():
        first = [texts[0] for _, texts in read_coco(folder)[0]]
        captions = first[::500]  # ten, spread over the first captions of all 5000 photographs
    means = {name: [] for name in (*cosine_figure.PUBLISHED.values(), "captions")}
    clip = Named.parse(script.PRESETS["paper"].model)
    for seed in range(SEEDS):
        (residual,), (vision, text) = (named.load(seed, "cpu") for named in (Named.parse("torchvision:resnet18"), clip))
        assert vision.settings["quick_gelu"] is True, "CLIP as released"
        for name, tower in zip(means, (residual, vision, text), strict=False):
            means[name].append(geometry.mean_cosine(tower.encode(draw_noise(tower, 4, 0))))
        if captions:
            means["captions"].append(geometry.mean_cosine(text.encode(captions)))
    return means


@pytest.mark.parametrize(
    "name, widest", [("resnet", 0.002), ("vision_transformer", 0.05), ("text_transformer", 0.4), ("captions", 0.4)]
)
def test_the_published_mean_of_random_weights_lies_where_a_further_seed_would(means_by_seed, name, widest):
    if not means_by_seed[name]:
        pytest.skip("MODALITY_GAP_COCO names no folder with captions_val2017.json")
    low, high = prediction_interval(means_by_seed[name])
    key = "random_real.text_transformer" if name == "captions" else f"random_noise.{name}"
    assert low <= published.numbers()[f"{cosine_figure.KEY}.{key}"].value <= high
    assert high - low < widest, "says something"


def test_the_table_has_a_row_for_every_seed_and_histograms_share_edges_and_integrate_to_one(smoke):
    table = smoke.tables[""]
    assert list(table.columns)[:12] == COLUMNS
    random = table[table["weights"] == "random"]
    assert random.groupby(["encoder", "input"])["seed"].apply(list).map(lambda s: s == [0, 1]).all()
    assert set(random["encoder"]) == {"ResNet-18", f"{SMALL} vision", f"{SMALL} text"}
    assert set(random["input"]) == {"noise", "crops of two photographs", "captions of generated scenes"}
    assert list(table.query("weights == 'small CLIP'")["encoder"]) == ["small CLIP vision", "small CLIP text"]
    assert (np.diff(table[["min", "q25", "median", "q75", "max"]], axis=1) >= -1e-6).all()
    histograms = smoke.tables["histograms"].fillna({"seed": -1})
    histograms["area"] = histograms["density"] * (histograms["right"] - histograms["left"])
    for _, panel in histograms.groupby(["encoder", "weights", "input"]):
        assert panel.groupby("seed")["left"].apply(tuple).nunique() == 1
        assert np.allclose(panel.groupby("seed")["area"].sum(), 1, atol=0.01), "nine digits in the csv"


def test_what_is_left_out_is_named_and_what_was_used_is_described(smoke):
    about = smoke.about
    assert "ResNet-18 with trained weights" in about["left_out"][0]
    assert about["left_out"][1].startswith("published embeddings: none in the cache")
    texts = "captions of generated scenes"
    names = [part["name"] for part in about["data"]]
    assert names == ["crops of two photographs", texts, "noise", "noise", "generated scenes", texts]
    found = {c["key"]: c for c in about["comparisons"]}
    few = {key: c for key, c in found.items() if "random" in key}
    assert len(few) == 14 and {c["agrees"] for c in few.values()} == {None}, "three inputs judge nothing"
    assert all(c["low"] <= c["ours"] <= c["high"] for c in few.values())
    assert "negative with 0 of 2 seeds" in found["figure_2a.random_noise.resnet.min"]["note"]
    assert "n = 50" in found[script.POSITIVE]["on"] and not found[script.POSITIVE]["own"]


@pytest.mark.parametrize("width", ["column", "page"])
def test_panels_say_what_they_hold_at_the_width_of_a_paper_and_none_is_there_without_data(smoke, width):
    figure = script.draw(smoke_runs.at_width(smoke, width))
    panels = [" ".join(ax.get_title(loc="left").split()) for ax in figure.axes]
    assert [" ".join(panel.split()[:4]) for panel in panels] == [
        "not run here", "random weights: 2 crops", "random weights: 2 noise",
        "small CLIP: 50 generated", "random weights: 2 crops", "random weights: 2 noise",
        "small CLIP: 50 captions", "random weights: 3 captions", "random weights: 3 noise",
    ]  # fmt: skip
    assert figure.axes[0].get_legend() is not None and not figure.axes[0].patches
    smoke_runs.printable(figure, width)


def test_your_own_embeddings_make_a_column_each(tmp_path, rng, undrawn):
    rows = rng.normal(size=(30, 8)) + 1
    Embeddings.of({"image": rows, "text": rows + rng.normal(size=rows.shape)}).save(tmp_path / "mine.npz")
    record = smoke_runs.run(script, tmp_path / "out", "--embeddings", tmp_path / "mine.npz")
    assert list(record.tables[""]["encoder"]) == ["mine image", "mine text"]
    assert np.isclose(record.tables[""]["mean"][0], geometry.mean_cosine(rows.astype(np.float32)), atol=1e-5)
    assert record.about["comparisons"] == []
    assert record.about["data"][0]["path"] == str(tmp_path / "mine.npz")


def test_rows_of_your_own_are_named_by_file_and_drawn_on_one_axis_without_marks_of_the_paper(tmp_path, rng, undrawn):
    for name, mean in (("texts", 1), ("images", 0.5)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(30, 8)) + mean)
    files = [word for name in ("texts", "images") for word in ("--embeddings", tmp_path / f"{name}.npy")]
    record = smoke_runs.run(script, tmp_path / "out", *files)
    assert record.tables[""]["input"].tolist() == ["images.npy", "texts.npy"]
    panels = (drawn := script.draw(record)).axes
    assert [ax.get_title(loc="left").split("\n")[0] for ax in panels] == [
        f"your own: 30 rows of {name}.npy" for name in ("images", "texts")
    ]
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["mean"]
    Embeddings.load(tmp_path / "texts.npy", tmp_path / "images.npy").save(tmp_path / "both.safetensors")
    both = Embeddings.load(tmp_path / "both.safetensors")
    assert [file["path"] for file in both.files] == [str(tmp_path / "both.safetensors")], "not of those it was made of"


def test_your_own_functions_join_the_figure_and_a_model_that_is_there_is_not_counted_twice(
    tmp_path, own_modules, smoke
):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def towers():\n"
        "    images = lambda pictures: np.array([[p.width, 1.0, p.height % 7] for p in pictures])\n"
        "    return images, lambda texts: np.array([[len(t), 1.0] for t in texts])\n"
    )
    models = (f"python:{tmp_path / 'mine.py'}:towers", "torchvision:resnet18", f"open_clip:{SMALL}")
    assert cli.own_output(smoke_runs.parsed(script, "--models", *models)).output == cli.OUTPUTS / "own" / "mine-smoke"
    table = measured("--models", *models).tables[""]
    mine = table[table["encoder"].str.startswith("mine")]
    assert list(mine["encoder"]) == ["mine vision", "mine text"]
    assert list(mine["input"]) == ["crops of two photographs", "captions of generated scenes"]
    others = table[~table["encoder"].str.startswith("mine")].reset_index(drop=True).astype({"seed": float})
    pd.testing.assert_frame_equal(others, smoke.tables[""], rtol=1e-6, check_dtype=False)


def test_photographs_and_every_caption_of_a_local_folder_replace_the_crops_beside_published_embeddings(
    tmp_path, monkeypatch, rng
):
    folder = write_coco(tmp_path / "coco")
    bad = folder / "val2017" / "000000000003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    rows = rng.normal(size=(2, 9, 5))
    theirs = Embeddings.of({"image": rows[0], "text": rows[1]}, source={"data": "nine"})
    monkeypatch.setattr(published, "available", lambda: [("clip", "trained")])
    monkeypatch.setattr(published, "load", lambda *a, **k: theirs)
    found = measured("--inputs", "3", "--coco", str(folder), "--every-caption")
    real = found.tables[""].query("row == 'random_real'").groupby("input")
    assert {name: set(part["n"]) for name, part in real} == {
        "MSCOCO val2017 photographs": {2}, "captions (all) of MSCOCO val2017": {6}, "MSCOCO val2017 captions": {3}
    }  # fmt: skip
    first = real.get_group("MSCOCO val2017 captions")["mean"]
    alone = measured("--inputs", "3", "--coco", str(folder)).tables[""].query("input == 'MSCOCO val2017 captions'")
    assert np.allclose(first, alone["mean"], atol=1e-6)
    (photographs,) = [part for part in found.data if part["name"] == "MSCOCO val2017 photographs"]
    assert len(photographs["skipped"]) == 1
    judged = [c.agrees for c in found.comparisons if c.on.startswith("MSCOCO")]
    assert judged == [None] * 7, "two photographs say nothing of five thousand"
    assert list(found.tables["published"]["encoder"]) == ["CLIP image", "CLIP text"]
    assert np.allclose(found.tables["published"]["mean"], [geometry.mean_cosine(x) for x in rows])
    positive = [c for c in found.comparisons if c.key == script.POSITIVE]
    assert [c.on for c in positive][1] == "published CLIP ViT-B/16, nine, n = 9" and positive[1].agrees is False


@pytest.mark.parametrize(
    "row, data, n, off, expected, extremes",
    [
        ("random_real", "MSCOCO val2017 captions", 5000, 0, "yes", "yes"),
        ("random_real", "MSCOCO val2017 captions", 4999, 0, "yes", "not run"),
        ("random_real", "MSCOCO val2017 captions", 2499, 0, "not run", "not run"),
        ("random_real", "MSCOCO train2017 captions", 5000, 0, "not run", "not run"),
        ("random_real", "MSCOCO val2017 captions", 5000, 1e-4, "no", "no"),
        ("random_noise", "noise", 64, 0, "yes", "not run"),
        ("random_noise", "noise", 63, 0, "not run", "not run"),
        ("pretrained_real", "MSCOCO val2017 captions", 5000, 0.0015, "yes", "yes"),
        ("pretrained_real", "MSCOCO val2017 captions", 5000, 0.003, "no", "yes"),
        ("pretrained_real", "MSCOCO val2017 captions", 5000, 0.006, "no", "no"),
    ],
)
def test_a_statistic_is_judged_on_the_papers_data_and_an_extreme_with_as_many_inputs(
    row, data, n, off, expected, extremes
):
    keys = {what: f"figure_2a.{row}.text_transformer.{what}" for what in script.STATISTICS}
    keys |= {"mean": f"{cosine_figure.KEY}.{row}.text_transformer", "std": f"{cosine_figure.KEY}.std.{row}.2"}
    about = {"row": row, "encoder": encoder_inputs.TEXT, "input": data, "n": n, "weights": "openai"}
    about |= {what: published.numbers()[key].value + off for what, key in keys.items()}
    part = pd.DataFrame([{**about, "seed": seed} for seed in ([None] if row == "pretrained_real" else [0, 1, 2])])
    found = {c.key: comparisons.verdict(records.plain(c)) for c in script.statistics(part)}
    verdicts = {what: extremes if what in ("min", "max") else expected for what in keys}
    assert {what: found[key] for what, key in keys.items()} == verdicts


def test_caps_are_those_of_direct_integration_and_contradict_the_paper_in_three_dimensions():
    for degrees, dim in ((10, 2), (27.97, 2), (27.97, 3), (55.94, 17), (90, 4)):
        angles = np.linspace(0, np.pi, 200_001)
        density = np.sin(angles) ** (dim - 2)
        inside = angles <= np.radians(degrees)
        share = np.trapezoid(density[inside], angles[inside]) / np.trapezoid(density, angles)
        assert script.cap_fraction(degrees, dim) == pytest.approx(share, rel=1e-3)
    assert script.cap_fraction(27.97, 512) == pytest.approx(1.879e-170, rel=1e-3)
    sizes = script.caps()
    wider = sizes.assign(fraction=1.005 * sizes["fraction"], log10_fraction=-511 * np.log10(2))
    for table, expected in ((sizes, ["yes", "paper is wrong", "yes"]), (wider, ["paper is wrong"] * 3)):
        assert [comparisons.verdict(records.plain(c)) for c in script.cap_sizes(table)] == expected
    with pytest.raises(UserError, match="from 0 to 90 degrees, not 91"):
        script.cap_fraction(91, 3)


def test_two_trained_tags_of_one_model_are_two_columns(monkeypatch):
    untrained = models.of_torchvision
    drawn = lambda named, seed, *how: untrained(named, len(named.tag) if seed is None else seed, *how)  # noqa: E731
    monkeypatch.setattr(models, "of_torchvision", drawn)
    found = measured("--models", "torchvision:resnet18:ONE", "torchvision:resnet18:OTHER")
    trained = found.tables[""][found.tables[""]["weights"].isin(("ONE", "OTHER"))]
    assert list(trained["encoder"]) == ["ResNet-18", "ResNet-18 (OTHER)"]
    assert trained["mean"].nunique() == 2
    assert all("published embeddings" in line for line in found.left_out)
    assert found.results["encoders"]["ResNet-18 (OTHER), trained"]["tag"] == "OTHER"


test_bad_input_is_one_line_and_leaves_no_file = smoke_runs.refuses(
    script,
    (("--models", "open_clip:ViT-B-31"), "unknown model: 'ViT-B-31'"),
    (("--models", "nonsense"), "unknown model: 'nonsense'"),
    (("--models", "small-clip", "python:mine.py"), "unknown encoder 'python:mine.py'; write open_clip:MODEL"),
    (("--model", "torchvision:resnet18"), "it is drawn with random weights, for which open_clip:MODEL or huggingface"),
    (("--model", "huggingface:a/b", "--pixels", "imagenet"), "--pixels only applies to models of open_clip"),
    (("--images", "1"), "--images must be a whole number of at least 2"),
    (("--seeds", "0"), "--seeds"),
    (("--coco", "{tmp}"), "no captions of split"),
    (("--embeddings", "{tmp}/none.npz"), "no such file"),
)


def test_without_a_network_the_paper_preset_names_what_it_lacks(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route")))
    found = measured("--preset", "paper", "--model", SMALL, "--seeds", "2", "--inputs", "3")
    assert set(found.tables[""]["input"]) == {"noise"}
    assert "real data" in " ".join(found.left_out)


def test_panels_a_and_c_share_inputs_and_take_the_papers_seeds():
    other = scripts.load("Figure_2_Cone_Effect/initializations.py").PRESETS
    for preset, ours in script.PRESETS.items():
        assert replace(Named.parse(ours.model), tag=None) == Named.parse(other[preset].model)
        assert all(getattr(ours, name) == getattr(other[preset], name) for name in ("pixels", "precision", "seed"))
    assert other["embedded"].seeds == other["paper"].seeds == encoder_inputs.PAPER_SEEDS == 25
