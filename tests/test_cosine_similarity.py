"""Figure 2 (a): the script, its record, and the published values inside the spread over ten seeds."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scripts
from coco_files import write_folder
from util import Embeddings, UserError, cli, geometry, published, records
from util.corpora import coco
from util.encoders import open_clip_pair, resnet
from util.numerics.statistics import prediction_interval

script = scripts.load("Figure_2_Cone_Effect/cosine_similarity.py")
COLUMNS = ["encoder", "weights", "input", "seed", "n", "mean", "std", "min", "q25", "median", "q75", "max"]
FOLDER = "Figure_2_Cone_Effect"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path_factory.getbasetemp() / "cone_cache"))


def run(*words):
    script.main(cli.parse(script.PRESETS, "", words))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODALITY_GAP_DATA", str(tmp_path_factory.getbasetemp() / "cone_cache"))
        run("--preset", "smoke", "--output", str(folder))
    return records.load(folder, "cosine_similarity")


@pytest.fixture(scope="module")
def ten_seeds():
    """Mean cosines of ten seeds: the third row of the panel, and texts on captions where there are some."""
    folder = os.environ.get("MODALITY_GAP_COCO")
    captions = None
    if folder and (Path(folder) / "annotations" / "captions_val2017.json").is_file():
        first = [texts[0] for _, _, texts in coco.read_captions(folder)[0]]
        captions = first[::100]  # fifty, spread over the first captions of all 5000 photographs
    means = {"resnet": [], "vision_transformer": [], "text_transformer": [], "captions": []}
    for seed in range(10):
        clip, network = open_clip_pair.load("ViT-B-32-quickgelu", seed=seed, device="cpu"), resnet.load(seed=seed)
        noise = {"vision_transformer": clip.non_text, "text_transformer": clip.text, "resnet": network}
        for name, tower in noise.items():
            n = 12 if tower.modality == "text" else 5
            means[name].append(geometry.mean_cosine(tower.encode(tower.noise(n, 0))))
        if captions:
            means["captions"].append(geometry.mean_cosine(clip.text.encode(captions)))
    return means


@pytest.mark.parametrize("name", ["resnet", "vision_transformer", "text_transformer"])
def test_the_published_mean_of_random_weights_on_noise_lies_where_an_eleventh_seed_would(ten_seeds, name):
    low, high = prediction_interval(ten_seeds[name])
    assert low <= published.values()["figure_2a_mean_cosine"]["random_noise"][name] <= high
    assert high - low < {"resnet": 0.002, "vision_transformer": 0.05, "text_transformer": 0.4}[name], "says something"


def test_the_published_mean_of_random_text_weights_on_captions_lies_there_too(ten_seeds):
    if not ten_seeds["captions"]:
        pytest.skip("MODALITY_GAP_COCO names no folder with captions_val2017.json")
    low, high = prediction_interval(ten_seeds["captions"])
    assert low <= published.values()["figure_2a_mean_cosine"]["random_real"]["text_transformer"] <= high
    assert high - low < 0.4


def test_the_table_has_the_contracts_columns_and_a_row_for_every_seed(smoke):
    table = smoke.tables[""]
    assert list(table.columns)[:12] == COLUMNS
    random = table[table["weights"] == "random"]
    assert random.groupby(["encoder", "input"])["seed"].apply(list).map(lambda s: s == [0, 1]).all()
    assert set(random["encoder"]) == {"ResNet-18", "CLIP ViT-B/32 vision", "CLIP ViT-B/32 text"}
    assert set(random["input"]) == {"noise", "crops of two photographs", "captions of scenes"}
    trained = table[table["weights"] == "small CLIP"]
    assert list(trained["encoder"]) == ["small CLIP vision", "small CLIP text"]
    ordered = table[["min", "q25", "median", "q75", "max"]].to_numpy()
    assert (np.diff(ordered, axis=1) >= -1e-6).all()


def test_histograms_share_edges_within_a_panel_and_integrate_to_one(smoke):
    for _, panel in smoke.tables["histograms"].groupby(["encoder", "weights", "input"]):
        edges = [tuple(part["left"]) for _, part in panel.groupby(panel["seed"].fillna(-1))]
        assert len(set(edges)) == 1
        for _, part in panel.groupby(panel["seed"].fillna(-1)):
            assert np.isclose(
                (part["density"] * (part["right"] - part["left"])).sum(), 1, atol=0.01
            )  # nine digits in the csv


def test_what_is_left_out_is_named_and_what_was_used_is_described(smoke):
    about = smoke.about
    assert len(about["left_out"]) == 1
    assert "ResNet-18 with trained weights" in about["left_out"][0]
    names = [part["name"] for part in about["data"]]
    assert names == ["scenes", "captions of scenes", "crops of two photographs", "captions of scenes", "noise", "noise"]
    assert "scikit-learn" in about["data"][2]["source"]
    assert len(about["comparisons"]) == 6
    noise = [c for c in about["comparisons"] if c["on"].startswith("noise")]
    assert all(isinstance(c["agrees"], bool) and "interval" in c["note"] for c in noise)
    assert all(c["agrees"] is None for c in about["comparisons"] if c not in noise)
    assert (smoke.folder / "cosine_similarity.png").stat().st_size > 10_000
    assert (smoke.folder / "cosine_similarity.pdf").is_file()


def test_ones_own_embeddings_make_a_column_each(tmp_path, rng):
    rows = rng.normal(size=(30, 8)) + 1
    Embeddings.of({"image": rows, "text": rows + rng.normal(size=rows.shape)}).save(tmp_path / "mine.npz")
    run("--embeddings", str(tmp_path / "mine.npz"), "--output", str(tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / "cosine_similarity.csv")
    assert list(table["encoder"]) == ["mine image", "mine text"]
    assert np.isclose(table["mean"][0], geometry.mean_cosine(rows.astype(np.float32)), atol=1e-5)
    about = json.loads((tmp_path / "out" / "cosine_similarity.json").read_text())
    assert about["comparisons"] == []
    assert about["data"][0]["path"] == "mine.npz"


def test_functions_of_ones_own_join_the_figure(tmp_path, smoke):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def towers():\n"
        "    images = lambda pictures: np.array([[p.width, 1.0, p.height % 7] for p in pictures])\n"
        "    return images, lambda texts: np.array([[len(t), 1.0] for t in texts])\n"
    )
    run("--preset", "smoke", "--models", f"python:{tmp_path / 'mine.py'}:towers", "--output", str(tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / "cosine_similarity.csv")
    mine = table[table["encoder"].str.startswith("mine")]
    assert list(mine["encoder"]) == ["mine vision", "mine text"]
    assert list(mine["input"]) == ["crops of two photographs", "captions of scenes"]
    others = table[~table["encoder"].str.startswith("mine")].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, pd.read_csv(smoke.folder / "cosine_similarity.csv"), rtol=1e-6)


def test_photographs_and_captions_of_a_local_folder_replace_the_crops(tmp_path, smoke):
    folder = write_folder(tmp_path / "coco")
    bad = folder / "val2017" / "000000000003.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    words = ("--preset", "smoke", "--images", "3", "--coco", str(folder), "--output", str(tmp_path / "out"))
    run(*words)
    record = records.load(tmp_path / "out", "cosine_similarity")
    real = record.tables[""].query("weights == 'random' and input != 'noise'")
    assert set(real["input"]) == {"MSCOCO val2017", "MSCOCO val2017 captions"}
    assert set(real.query("encoder == 'ResNet-18'")["n"]) == {2}
    (photographs,) = [part for part in record.about["data"] if part["name"] == "MSCOCO val2017"]
    assert len(photographs["skipped"]) == 1
    judged = [c["agrees"] for c in record.about["comparisons"] if c["on"].startswith("MSCOCO")]
    assert judged == [None, None, None], "three photographs say nothing of five thousand"


def test_means_on_the_papers_data_are_judged_from_thousands_of_inputs_on():
    means = [0.66, 0.7, 0.68]
    rows = {"row": "random_real", "encoder": script.TEXT, "input": "MSCOCO val2017 captions", "weights": "random"}
    for n, agrees in ((5000, True), (50, None)):
        (one,) = script.compare(pd.DataFrame([{**rows, "mean": mean, "n": n} for mean in means]))
        assert one.agrees is agrees
    trained = {**rows, "row": "pretrained_real", "weights": "openai", "n": 5000}
    assert [script.compare(pd.DataFrame([{**trained, "mean": m}]))[0].agrees for m in (0.509, 0.6)] == [True, False]


def test_the_default_columns_are_clip_as_released():
    clip = open_clip_pair.load(script.PRESETS["paper"].model, seed=0, device="cpu")
    assert clip.settings["quick_gelu"] is True


def test_a_model_that_is_in_the_figure_already_is_not_counted_twice(tmp_path, smoke):
    run(
        "--preset",
        "smoke",
        "--models",
        "torchvision:resnet18",
        "open_clip:ViT-B-32-quickgelu",
        "--output",
        str(tmp_path),
    )
    again = pd.read_csv(tmp_path / "cosine_similarity.csv")
    pd.testing.assert_frame_equal(again, pd.read_csv(smoke.folder / "cosine_similarity.csv"), rtol=1e-6)


def test_two_trained_tags_of_one_model_are_two_columns(tmp_path, smoke, monkeypatch):
    from util.encoders import resnet

    untrained = resnet.load
    monkeypatch.setattr(
        resnet, "load", lambda name, tag, seed, device: untrained(name, None, len(tag or "") or seed, device)
    )
    names = ("torchvision:resnet18:ONE", "torchvision:resnet18:OTHER")
    run("--preset", "smoke", "--models", *names, "--output", str(tmp_path))
    table = pd.read_csv(tmp_path / "cosine_similarity.csv")
    trained = table[table["weights"].isin(("ONE", "OTHER"))]
    assert list(trained["encoder"]) == ["ResNet-18", "ResNet-18 (OTHER)"]
    assert trained["mean"].nunique() == 2
    record = records.load(tmp_path, "cosine_similarity")
    assert record.about["left_out"] == []
    assert record.about["results"]["encoders"]["ResNet-18 (OTHER), trained"]["tag"] == "OTHER"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "open_clip:ViT-B-31"), "unknown model: 'ViT-B-31'"),
        (("--models", "nonsense"), "unknown encoder 'nonsense'"),
        (("--images", "1"), "--images must be at least 2"),
        (("--seeds", "0"), "--seeds"),
        (("--coco", "{tmp}"), "no captions of split"),
        (("--embeddings", "{tmp}/none.npz"), "no such file"),
        (("--embeddings", "{tmp}/none.npz", "--models", "open_clip:RN50"), "leave --models and --coco out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, smoke, words, message):
    words = [word.format(tmp=tmp_path) for word in words]
    with pytest.raises(UserError, match=message):
        run("--preset", "smoke", *words, "--output", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_a_network_the_paper_preset_names_what_it_lacks(tmp_path, monkeypatch, smoke):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route")))
    run("--preset", "paper", "--seeds", "2", "--noise", "2", "3", "--output", str(tmp_path / "out"))
    record = records.load(tmp_path / "out", "cosine_similarity")
    assert set(record.tables[""]["input"]) == {"noise"}
    assert "real data" in " ".join(record.about["left_out"])
