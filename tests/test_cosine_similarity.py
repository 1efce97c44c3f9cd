"""Figure 2 (a): the script, its record, and the published values inside the spread over seeds."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import encoder_options
import scripts
import smoke_runs
from coco_files import write_folder
from util import Embeddings, cli, geometry, published
from util.corpora import coco
from util.encoders import resnet
from util.encoders.named import Named
from util.numerics.statistics import prediction_interval

script = scripts.load("Figure_2_Cone_Effect/cosine_similarity.py")
COLUMNS = ["encoder", "weights", "input", "seed", "n", "mean", "std", "min", "q25", "median", "q75", "max"]
SMALL = "ViT-S-32-alt"
SEEDS = 5


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(smoke_runs.cache(tmp_path_factory)))


def measured(*words):
    """A smoke run with further options, neither recorded nor drawn."""
    return script.measure(cli.parse(script.PRESETS, "", ("--preset", "smoke", *words)), "cpu")


@pytest.fixture(scope="module")
def means_by_seed():
    """Mean cosines of the paper's encoders by seed: on noise, and texts on captions where there are some."""
    folder = os.environ.get("MODALITY_GAP_COCO")
    captions = None
    if folder and (Path(folder) / "annotations" / "captions_val2017.json").is_file():
        first = [texts[0] for _, _, texts in coco.read_captions(folder)[0]]
        captions = first[::100]  # fifty, spread over the first captions of all 5000 photographs
    means = {name: [] for name in (*script.PUBLISHED.values(), "captions")}
    clip = Named("open_clip", script.PRESETS["paper"].model)
    for seed in range(SEEDS):
        vision, text = clip.load(seed, "cpu")
        assert vision.settings["quick_gelu"] is True, "CLIP as released"
        for name, tower in zip(means, (resnet.load(seed=seed), vision, text), strict=False):
            n = 8 if tower.modality == "text" else 4
            means[name].append(geometry.mean_cosine(tower.encode(tower.noise(n, 0))))
        if captions:
            means["captions"].append(geometry.mean_cosine(text.encode(captions)))
    return means


@pytest.mark.parametrize(
    "name, key, widest",
    [
        ("resnet", "random_noise.resnet", 0.002),
        ("vision_transformer", "random_noise.vision_transformer", 0.05),
        ("text_transformer", "random_noise.text_transformer", 0.4),
        ("captions", "random_real.text_transformer", 0.4),
    ],
)
def test_the_published_mean_of_random_weights_lies_where_a_further_seed_would(means_by_seed, name, key, widest):
    if not means_by_seed[name]:
        pytest.skip("MODALITY_GAP_COCO names no folder with captions_val2017.json")
    low, high = prediction_interval(means_by_seed[name])
    assert low <= published.numbers()[f"{script.KEY}.{key}"].value <= high
    assert high - low < widest, "says something"


def test_the_table_has_the_contracts_columns_and_a_row_for_every_seed(smoke):
    table = smoke.tables[""]
    assert list(table.columns)[:12] == COLUMNS
    random = table[table["weights"] == "random"]
    assert random.groupby(["encoder", "input"])["seed"].apply(list).map(lambda s: s == [0, 1]).all()
    assert set(random["encoder"]) == {"ResNet-18", f"{SMALL} vision", f"{SMALL} text"}
    assert set(random["input"]) == {"noise", "crops of two photographs", "captions of scenes"}
    trained = table[table["weights"] == "small CLIP"]
    assert list(trained["encoder"]) == ["small CLIP vision", "small CLIP text"]
    ordered = table[["min", "q25", "median", "q75", "max"]].to_numpy()
    assert (np.diff(ordered, axis=1) >= -1e-6).all()


def test_histograms_share_edges_within_a_panel_and_integrate_to_one(smoke):
    histograms = smoke.tables["histograms"].fillna({"seed": -1})
    histograms["area"] = histograms["density"] * (histograms["right"] - histograms["left"])
    for _, panel in histograms.groupby(["encoder", "weights", "input"]):
        assert panel.groupby("seed")["left"].apply(tuple).nunique() == 1
        assert np.allclose(panel.groupby("seed")["area"].sum(), 1, atol=0.01), "nine digits in the csv"


def test_what_is_left_out_is_named_and_what_was_used_is_described(smoke):
    about = smoke.about
    (left_out,) = about["left_out"]
    assert "ResNet-18 with trained weights" in left_out
    names = [part["name"] for part in about["data"]]
    assert names == ["crops of two photographs", "captions of scenes", "noise", "noise", "scenes", "captions of scenes"]
    assert "scikit-learn" in about["data"][0]["source"]
    keys = [c["key"].removeprefix("figure_2a_mean_cosine.") for c in about["comparisons"]]
    assert keys == ["random_real.resnet", "std.random_real.0", "random_noise.resnet", "std.random_noise.0"]
    assert [c["agrees"] is None for c in about["comparisons"]] == [True, True, False, False]
    assert [c["own"] for c in about["comparisons"]] == [False, False, True, True]
    assert all(c["low"] <= c["ours"] <= c["high"] for c in about["comparisons"])
    assert all((smoke.folder / f"cosine_similarity.{kind}").stat().st_size > 10_000 for kind in ("png", "pdf"))


def test_rows_of_the_figure_say_what_they_hold(smoke):
    figure = script.draw(smoke)
    said = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"trained weights,\ngenerated scenes", "random weights,\nnoise"} <= said
    assert "random weights,\nreal data, generated scenes" in said
    plt.close(figure)


def test_your_own_embeddings_make_a_column_each(tmp_path, rng):
    rows = rng.normal(size=(30, 8)) + 1
    Embeddings.of({"image": rows, "text": rows + rng.normal(size=rows.shape)}).save(tmp_path / "mine.npz")
    words = ("--embeddings", str(tmp_path / "mine.npz"), "--output", str(tmp_path / "out"))
    record = script.run(cli.parse(script.PRESETS, "", words))
    assert list(record.tables[""]["encoder"]) == ["mine image", "mine text"]
    assert np.isclose(record.tables[""]["mean"][0], geometry.mean_cosine(rows.astype(np.float32)), atol=1e-5)
    assert record.about["comparisons"] == []
    assert record.about["data"][0]["path"] == str(tmp_path / "mine.npz")


def test_your_own_functions_join_the_figure_and_a_model_that_is_there_is_not_counted_twice(tmp_path, smoke):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def towers():\n"
        "    images = lambda pictures: np.array([[p.width, 1.0, p.height % 7] for p in pictures])\n"
        "    return images, lambda texts: np.array([[len(t), 1.0] for t in texts])\n"
    )
    models = (f"python:{tmp_path / 'mine.py'}:towers", "torchvision:resnet18", f"open_clip:{SMALL}")
    table = measured("--models", *models).tables[""]
    mine = table[table["encoder"].str.startswith("mine")]
    assert list(mine["encoder"]) == ["mine vision", "mine text"]
    assert list(mine["input"]) == ["crops of two photographs", "captions of scenes"]
    others = table[~table["encoder"].str.startswith("mine")].reset_index(drop=True).astype({"seed": float})
    pd.testing.assert_frame_equal(others, smoke.tables[""], rtol=1e-6, check_dtype=False)


def test_photographs_and_captions_of_a_local_folder_replace_the_crops(tmp_path):
    folder = write_folder(tmp_path / "coco")
    bad = folder / "val2017" / "000000000003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    found = measured("--images", "3", "--coco", str(folder))
    real = found.tables[""].query("weights == 'random' and input != 'noise'")
    assert set(real["input"]) == {"MSCOCO val2017", "MSCOCO val2017 captions"}
    assert set(real.query("encoder == 'ResNet-18'")["n"]) == {2}
    (photographs,) = [part for part in found.data if part["name"] == "MSCOCO val2017"]
    assert len(photographs["skipped"]) == 1
    judged = [c.agrees for c in found.comparisons if c.on.startswith("MSCOCO")]
    assert judged == [None, None], "three photographs say nothing of five thousand"


def test_numbers_on_the_papers_data_are_judged_from_thousands_of_inputs_on():
    about = {"row": "random_real", "encoder": encoder_options.TEXT, "weights": "random"}
    about["input"] = "MSCOCO val2017 captions"
    for n, agrees in ((5000, True), (50, None)):
        rows = [{**about, "mean": mean, "std": mean / 9, "n": n} for mean in (0.66, 0.7, 0.68)]
        mean, std = script.compare(pd.DataFrame(rows))
        assert mean.agrees is std.agrees is agrees
        assert mean.key == f"{script.KEY}.random_real.text_transformer" and std.key == f"{script.KEY}.std.random_real.2"
    trained = {**about, "row": "pretrained_real", "weights": "openai", "n": 5000, "std": 0.1}
    assert [script.compare(pd.DataFrame([{**trained, "mean": m}]))[0].agrees for m in (0.509, 0.6)] == [True, False]


def test_two_trained_tags_of_one_model_are_two_columns(monkeypatch):
    untrained = resnet.load
    monkeypatch.setattr(
        resnet, "load", lambda name, tag, seed, device: untrained(name, None, len(tag or "") or seed, device)
    )
    found = measured("--models", "torchvision:resnet18:ONE", "torchvision:resnet18:OTHER")
    trained = found.tables[""][found.tables[""]["weights"].isin(("ONE", "OTHER"))]
    assert list(trained["encoder"]) == ["ResNet-18", "ResNet-18 (OTHER)"]
    assert trained["mean"].nunique() == 2
    assert found.left_out == []
    assert found.results["encoders"]["ResNet-18 (OTHER), trained"]["tag"] == "OTHER"


test_bad_input_is_one_line_and_leaves_no_file = smoke_runs.refuses(
    script,
    (("--models", "open_clip:ViT-B-31"), "unknown model: 'ViT-B-31'"),
    (("--models", "nonsense"), "unknown model: 'nonsense'"),
    (("--images", "1"), "--images must be at least 2"),
    (("--seeds", "0"), "--seeds"),
    (("--coco", "{tmp}"), "no captions of split"),
    (("--embeddings", "{tmp}/none.npz"), "no such file"),
    (("--embeddings", "{tmp}/none.npz", "--models", "open_clip:RN50"), "leave --models and --coco out"),
)


def test_without_a_network_the_paper_preset_names_what_it_lacks(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route")))
    found = measured("--preset", "paper", "--model", SMALL, "--seeds", "2", "--noise", "2", "3")
    assert set(found.tables[""]["input"]) == {"noise"}
    assert "real data" in " ".join(found.left_out)


def test_panels_a_and_c_share_inputs_and_take_the_papers_seeds():
    other = scripts.load("Figure_2_Cone_Effect/initializations.py").PRESETS
    for preset in script.PRESETS:
        for option in ("images", "captions", "noise", "model", "pixels", "precision", "seed"):
            assert getattr(script.PRESETS[preset], option) == getattr(other[preset], option)
    assert other["embedded"].seeds == other["paper"].seeds == encoder_options.PAPER_SEEDS == 25
