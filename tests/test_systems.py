"""Figure 1's script and systems: published embeddings, your own, the small CLIP, and all four with tiny networks."""

import hashlib
import runpy
import shutil
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import gap_figure
import panels
import reference
import scripts
import smoke_runs
from systems import SYSTEMS, clasp, convirt, x_clip
from tiny_encoders import CLASP, CONVIRT, tiny_models, x_clip_config  # noqa: F401  (registers the tiny models)
from util import Embeddings, UserError, cli, figures, geometry, published
from util.corpora.generated.pictures import captioned_scenes
from util.encoders.named import Named

script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")


def test_they_are_those_that_were_published():
    assert set(SYSTEMS) == set(published.SYSTEMS) == set(panels.Inputs(output="").systems)
    assert not any(system.note.endswith(".") for system in SYSTEMS.values())


@pytest.fixture
def tiny(monkeypatch, own_cache):
    """Every architecture at sizes that take no time."""
    monkeypatch.setattr(x_clip, "load", partial(x_clip.load, config=x_clip_config(frames=8)))
    monkeypatch.setattr(convirt, "load", partial(convirt.load, sizes=CONVIRT))
    monkeypatch.setattr(clasp, "load", partial(clasp.load, sizes=CLASP))


def collected(*words):
    """Every panel by (system, weights), and the lines of what was left out."""
    settings, left_out = smoke_runs.parsed(script, *words), []
    settings.check()
    found = list(panels.collect(settings, left_out))
    return {(panel.system, panel.weights): panel for panel in found}, left_out


def pictures(folder, *names, mode="L"):
    """Pictures of noise and a table of their captions."""
    folder.mkdir()
    for k, name in enumerate(names):
        noise = np.random.default_rng(k).integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(folder / name)
    (folder / "captions.csv").write_text("\n".join(["file,text", *(f"{name},about {name}" for name in names)]))
    return folder


def test_all_four_systems_with_random_weights_and_the_small_clip_trained(tiny):
    found, left_out = collected("--items", 5, "--systems", *SYSTEMS)
    rows, data, _ = zip(*(script.numbers(panel, script.PRESETS["smoke"]) for panel in found.values()), strict=True)
    assert [(row["kind"], row["system"], row["weights"], row["source"]) for row in rows] == [
        ("image-text", "small CLIP", "trained", "generated scenes"),
        ("image-text", "small CLIP", "random", "generated scenes"),
        ("video-text", "X-CLIP base", "random", "generated scenes in motion"),
        ("medical image-text", "ConVIRT", "random", "generated noise radiographs, random sentences"),
        ("protein-text", "CLASP", "random",
         "generated amino-acid sequences at natural frequencies, random texts"),
    ]  # fmt: skip
    assert [row["n_pairs"] for row in rows] == [5] * 5
    assert [row["other"] for row in rows] == ["image", "image", "video", "image", "amino acid"]
    for system in ("VideoCLIP", "ConVIRT", "CLASP"):
        assert any(line.startswith(f"{system}, trained weights, run here: random weights alone") for line in left_out)
    assert "X-CLIP stands in the place of VideoCLIP" in data[2]["note"] and data[0]["note"] == panels.SMALL_NOTE
    assert data[4]["settings"]["encoder"]["seed"] == 0 and not any("path" in part for part in data)
    assert data[3]["normalised_here"] and set(data[3]["row_norms_before"]) == {"image", "text"}


def test_another_seed_is_another_network_and_is_not_taken_from_the_cache(tiny):
    words = ("--systems", "clip", "clasp", "--items", 5, "--seed")
    for_seeds = [collected(*words, seed)[0] for seed in (0, 1, 0)]
    for key in (("small CLIP", "random"), ("CLASP", "random")):
        first, other, again = (found[key].embeddings.modalities["text"] for found in for_seeds)
        assert np.array_equal(first, again) and not np.allclose(first, other, atol=0.1)


def test_own_pictures_are_taken_whole_one_of_which_does_not_decode(tmp_path, own_cache, monkeypatch, capsys):
    monkeypatch.setattr(panels, "MODEL", "open_clip:tiny:none")
    own = pictures(tmp_path / "own", *(f"{k}.png" for k in range(4)))
    (own / "2.png").write_bytes(b"not a picture")
    words = ("--systems", "clip", "--own-data", own, "--model", panels.MODEL)
    found, left_out = collected(*words)
    data = found["CLIP ViT-B/16", "random"].embeddings.source["data"]
    assert data["n"] == 3 and data["skipped"][0].startswith("2.png: ")
    assert "1 of 4 " in capsys.readouterr().out
    assert any("trained weights are a download; allow it with --fetch" in line for line in left_out)
    (fewer,) = collected(*words, "--items", 2)[0].values()
    assert len(fewer.embeddings.modalities["image"]) == 2


def test_a_checkpoint_of_your_own_needs_no_fetch_and_is_named_as_what_it_is(tmp_path, tiny):
    made, path = Named.parse("tiny").pair(3, "cpu"), tmp_path / "mine.safetensors"
    save_file({name: value.contiguous() for name, value in made.model.state_dict().items()}, path)
    own = pictures(tmp_path / "own", "a.png", "b.png", mode="RGB")
    found, _ = collected("--systems", "clip", "--own-data", own, "--model", f"tiny:{path}")
    assert list(found) == [("tiny mine.safetensors", "trained"), ("tiny", "random")]
    trained = found["tiny mine.safetensors", "trained"]
    assert trained.about["note"].startswith("tiny mine.safetensors, chosen by option")


def test_trained_weights_that_cannot_be_had_are_named_and_the_rest_is_drawn(tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr("util.published.fetch_all", list)
    pair = Named.pair

    def offline(named, seed, *how):
        if seed is None:
            raise UserError("no connection to the hub")
        return pair(named, seed, *how)

    monkeypatch.setattr(Named, "pair", offline)
    own = pictures(tmp_path / "own", "a.png", "b.png")
    found, left_out = collected("--systems", "clip", "--own-data", own, "--fetch", "--model", "tiny:openai")
    assert list(found) == [("tiny", "random")]
    assert any(line.startswith("CLIP, trained weights") and "no connection to" in line for line in left_out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--own-data empty", "captions.csv"),
        ("--coco empty", "no captions of split"),
        ("--items 5 --model mine.py:failing", "mine: the image function failed on 1 inputs (ZeroDivisionError"),
        ("--items 5 --model python:mine.py", "unknown encoder 'python:mine.py'; write open_clip:MODEL"),
    ],
)
def test_own_data_that_are_not_there_or_a_wrong_encoder_end_the_run(mine, words, said, capsys):
    (mine / "empty").mkdir()
    assert said in smoke_runs.refusal(script, ["--systems", "clip", *words.split()], mine / "out", capsys)


OWN = """
import numpy as np

def encoders():
    import beside
    return beside.colours, lambda texts: np.array([[len(each), each.count(" "), len(set(each)), 5.0] for each in texts])

def failing():
    return (lambda images: 1 / 0), (lambda texts: None)
"""
BESIDE = """
import numpy as np

def colours(pictures):
    return np.array([[*np.asarray(each.convert("RGB"), float).mean((0, 1)), 40] for each in pictures])
"""


@pytest.fixture
def mine(tmp_path, own_cache, own_modules, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "beside.py").write_text(BESIDE)
    monkeypatch.setitem(
        sys.modules, "umap", SimpleNamespace(**runpy.run_path(scripts.REPOSITORY / "tests/stand_ins/umap.py"))
    )
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "data"),
    [("python:mine.py:encoders", "own"), ("python:mine:encoders", "generated"), ("mine.py:encoders", "generated")],
)
def test_an_encoder_of_your_own_goes_from_the_shell_to_a_gap(mine, model, data, undrawn):
    drawn = captioned_scenes(9, 0)
    given, captions = [Image.fromarray(opener()) for opener in drawn.openers], drawn.captions
    words = ["--systems", "clip", "--items", "9", "--model", model]
    if data == "own":
        folder = pictures(mine / "own", *(f"{k}.png" for k in range(9)), mode="RGB")
        given = [Image.open(folder / f"{k}.png") for k in range(9)]
        words, captions = [*words, "--own-data", "own"], [f"about {k}.png" for k in range(9)]
    record = smoke_runs.run(script, "out", *words)
    (row,) = record.tables[""].itertuples()
    assert (row.system, row.weights, row.n_pairs) == ("mine", "your own", 9)
    of_pictures, of_texts = runpy.run_path("mine.py")["encoders"]()
    gap = reference.gap(reference.unit(of_pictures(given)), reference.unit(of_texts(captions)))
    assert row.gap_distance == pytest.approx(np.linalg.norm(gap), abs=1e-6)
    spelled = "python:mine" if model == "python:mine:encoders" else f"python:{mine / 'mine.py'}"
    assert record.about["settings"]["model"] == f"{spelled}:encoders"
    assert any("your own functions have no random twin" in line for line in record.about["left_out"])


def test_an_encoder_of_your_own_is_asked_anew_each_time_and_its_results_have_their_own_folder(mine, undrawn):
    settings = smoke_runs.parsed(script, "--systems", "clip", "--items", "5", "--model", "mine.py:encoders")
    gaps = []
    for constant in ("40", "400"):
        (mine / "beside.py").write_text(BESIDE.replace("40]", f"{constant}]"))
        sys.modules.pop("beside", None)
        gaps.append(script.run(settings).tables[""]["gap_distance"].item())
    assert abs(gaps[0] - gaps[1]) > 0.05, "weights may change while the file stays"
    assert (mine / "outputs" / "own" / "mine-smoke" / "modality_gap.json").is_file()


def test_the_small_clip_has_a_name_and_takes_pictures_of_its_size_alone(mine):
    found, _ = collected("--systems", "clip", "--items", 5, "--model", "small-clip")
    assert list(found) == [("small CLIP", "trained"), ("small CLIP", "random")]
    pictures(mine / "own", "a.png", "b.png", mode="RGB")
    with pytest.raises(UserError, match="the small CLIP takes pictures of 32x32 pixels only"):
        collected("--systems", "clip", "--own-data", "own", "--model", "small-clip")


CONTRACT = [
    "system", "weights", "source", "n_pairs", "dim", "gap_distance", "matched_cosine", "mean_cosine_other",
    "mean_cosine_text", "relative_gap", "separability",
]  # fmt: skip
CONTRACT += ["n_other", "n_text", "separability_rows", "other", "text", "kind", *script.RECALL_COLUMNS]
POINTS = ["system", "weights", "source", "modality", "pair", "method", "x", "y"]
METHODS = ["umap", "tsne", "pca", "svd"]
PUBLISHED = {  # gap distance, hits of image and text recall@1, different images and texts: numpy alone, float64
    ("CLIP", "trained"): (0.851352, 276, 253, 500, 500), ("CLIP", "random"): (1.136057, 1, 1, 500, 500),
    ("VideoCLIP", "trained"): (1.066891, 37, 24, 100, 100), ("VideoCLIP", "random"): (0.954355, 0, 1, 100, 100),
    ("ConVIRT", "trained"): (0.823076, 3, 11, 500, 443), ("ConVIRT", "random"): (1.403019, 1, 0, 500, 449),
    ("CLASP", "trained"): (1.044664, 3, 0, 99, 98), ("CLASP", "random"): (1.289261, 1, 1, 98, 99),
}  # fmt: skip
run = partial(smoke_runs.run, script)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with paired a.npy, unpaired b.npz of another width, c.safetensors with three modalities."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    x, y = reference.pairs(rng, 30, 8)
    np.save(folder / "a.npy", np.stack([2 * x, y]))
    Embeddings.of({"video": reference.cone(rng, 12, 5), "text": reference.cone(rng, 20, 5)}).save(folder / "b.npz")
    Embeddings.of({"image": x, "audio": reference.cone(rng, 30, 8), "text": y}).save(folder / "c.safetensors")
    return folder


@pytest.fixture(scope="module")
def paired(own, tmp_path_factory):
    """The record of a.npy with 10 points shown and 12 rows separated."""
    words = ("--points", 10, "--separability-rows", 12, "--embeddings", own / "a.npy")
    with smoke_runs.undrawn():
        return run(tmp_path_factory.mktemp("paired"), *words)


def test_own_embeddings_of_any_size_and_format_in_one_call(tmp_path, own, undrawn):
    shutil.copy(own / "a.npy", tmp_path / "b.npy")  # of the name of b.npz
    files = [tmp_path / "b.npy", own / "b.npz", own / "c.safetensors"]
    record = run(tmp_path / "out", *(word for path in files for word in ("--embeddings", path)))
    table, points = record.tables[""], record.tables["points"]
    assert list(table.columns)[: len(CONTRACT)] == CONTRACT and list(points.columns)[: len(POINTS)] == POINTS
    three = [f"{files[2]}: {names}" for names in ("image, audio", "image, text", "audio, text")]
    assert list(table["system"]) == [str(files[0]), str(files[1]), *three]
    assert list(table["n_pairs"]) == [30, 0, 30, 30, 30] and list(table["dim"]) == [8, 5, 8, 8, 8]
    for column in ("matched_cosine", "relative_gap", *script.RECALL_COLUMNS):
        assert table[column].isna().tolist() == [False, True, False, False, False]
    x, y = Embeddings.load(files[0]).paired()
    assert table["gap_distance"][0] == pytest.approx(geometry.gap_distance(x, y), abs=1e-6)
    assert table["relative_gap"][0] == pytest.approx(reference.measures(x, y)["relative_gap"], abs=1e-6)
    unpaired = points[points["system"] == str(files[1])]
    assert unpaired["pair"].isna().all() and (unpaired.groupby(["method", "modality"]).size() == 12).all()
    assert [part["path"] for part in record.about["data"]][:2] == [str(path) for path in files[:2]]


def test_your_own_are_named_once_and_lettered_from_a(tmp_path, own, paired, capsys, undrawn):
    record = run(tmp_path, "--embeddings", own / "a.npy", "--embeddings", own / "b.npz")
    said = capsys.readouterr().out
    assert "a, your own: 30 pairs" in said and "given" not in said
    two, one = ([ax.get_title("left") for ax in gap_figure.draw(each).axes] for each in (record, paired))
    assert ["(a)" in two[0], "(b)" in two[1], "a, your own\n30 pairs" in two[0]] == [True] * 3
    assert one[0].startswith("a, your own") and "(b)" not in record.about["captions"]["modality_gap"]


def test_points_are_a_stated_subset_of_pairs_in_four_views(own, paired):
    points = paired.tables["points"]
    assert set(points["method"]) == set(METHODS)
    for _, part in points.groupby("method"):
        image, text = (part[part["modality"] == name] for name in ("image", "text"))
        assert len(image) == len(text) == 10
        assert list(image["row"]) == list(text["row"]) and list(image["pair"]) == list(text["pair"])
    x, y = Embeddings.load(own / "a.npy").paired()
    rows = points[(points["method"] == "svd") & (points["modality"] == "image")]["row"].to_numpy()
    together = np.concatenate([x[rows], y[rows]]).astype(float)
    svd = points[points["method"] == "svd"][["x", "y"]].to_numpy()
    _, _, vt = np.linalg.svd(together, full_matrices=False)
    assert np.abs(svd) == pytest.approx(np.abs(together @ vt[:2].T), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_panel_names_the_view_that_is_drawn_and_its_subsets(paired, method):
    record = replace(paired, about={**paired.about, "settings": {**paired.about["settings"], "method": method}})
    figure, points = gap_figure.draw(record), paired.tables["points"]
    title = figure.axes[0].get_title(loc="left")
    assert "30 pairs, 10 of each shown" in title and "(12 of each)" in title
    assert figure.legends[0].get_title().get_text().startswith(gap_figure.METHODS[method])
    drawn = np.concatenate([np.asarray(part.get_offsets()) for part in figure.axes[0].collections[1:]])
    assert drawn == pytest.approx(points[points["method"] == method][["x", "y"]].to_numpy())


def test_the_record_says_what_the_file_held(own, paired):
    data = paired.about["data"][0]
    assert data["sha256"] == hashlib.sha256((own / "a.npy").read_bytes()).hexdigest()
    assert data["row_norms_before"]["image"] == pytest.approx([2, 2], abs=1e-5) and data["normalised_here"]
    assert data["dtype"] == ["float32"]


def test_the_same_seed_gives_the_same_coordinates_and_another_one_others(tmp_path, own, undrawn):
    words = ("--embeddings", own / "a.npy", "--seed")
    first, again, other = (run(tmp_path, *words, seed).tables["points"] for seed in (3, 3, 4))
    assert first.equals(again)
    umap = [table[table["method"] == "umap"][["x", "y"]].to_numpy() for table in (first, other)]
    assert not np.allclose(*umap)


def test_what_is_not_in_the_cache_is_named_and_the_rest_drawn(tmp_path, own_cache, capsys):
    for folder in (own_cache, tmp_path / "out"):
        folder.mkdir()
    np.save(own_cache / "features_clip.npy", np.ones((2, 4, 3), np.float32))
    (tmp_path / "out" / "modality_gap_live.png").touch()  # of a run that had the published files
    record = run(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"modality_gap.png", "modality_gap_strip.png"}
    table, said, (left_out,) = record.tables[""], capsys.readouterr().out, record.about["left_out"]
    assert list(table["weights"]) == ["trained", "random"]
    assert list(table["system"]) == ["small CLIP"] * 2 and list(table["source"]) == ["generated scenes"] * 2
    assert all(name in said and name in left_out for name in published.files())
    assert "or has damaged: features_clip.npy: wrong sha256" in left_out
    assert table["separability"].min() > 0.95 and table["gap_distance"].min() > 0.5
    assert [(c["key"], c["agrees"], c["own"], c["on"]) for c in record.about["comparisons"]] == [
        (f"figure_1.separate.clip.{weights}", True, False, f"small CLIP, {weights} weights, generated scenes")
        for weights in ("trained", "random")
    ]
    accepted = ["accepted for a gap" in comparison["note"] for comparison in record.about["comparisons"]]
    assert accepted == [True, False] and list(table["random_in"].fillna("")) == ["", "every layer"]
    figure = gap_figure.draw(record)
    assert "inputs are generated" in figure._suptitle.get_text() and len(figure.axes) == 2, "no empty panel"


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """The record of all published files beside the small CLIP, with 20 points of each modality."""
    if len(published.available()) < 8:
        pytest.skip("MODALITY_GAP_DATA names no folder with the eight published files")
    with smoke_runs.undrawn():
        return run(tmp_path_factory.mktemp("eight"), "--points", 20)


def test_the_eight_published_files(eight):
    table = eight.tables[""].query("source == 'published embeddings'").set_index(["system", "weights"])
    assert list(table.index) == list(PUBLISHED) and (table["separability"] == 1).all()
    about = published.values()["published_embeddings"]
    for (key, row), (gap, image, text, n, m) in zip(table.iterrows(), PUBLISHED.values(), strict=True):
        assert row["gap_distance"] == pytest.approx(gap, abs=1e-6), key
        assert (row["n_pairs"], row["dim"]) == (about["n_pairs"][key[0].lower()], about["dim"][key[0].lower()])
        recalls = row[["image_recall_at_1", "text_recall_at_1", "chance"]].tolist()
        assert recalls == pytest.approx([image / n, text / m, 1 / min(n, m)])  # as many different pairs as the larger
    assert [system for (system, _), said in table["random_in"].items() if said == "every layer"] == ["CLIP", "CLASP"]
    assert [system for (system, _), said in table["embedded_in"].items() if "training" in said] == ["ConVIRT"] * 2
    assert not eight.about["left_out"]
    views = eight.tables["points"].groupby("source")["method"].agg(set)
    assert views["published embeddings"] == set(METHODS) and views["generated scenes"] == {"umap"}
    found = {c["key"]: c["agrees"] for c in eight.about["comparisons"] if c["own"]}
    assert found == dict.fromkeys(published.numbers("figure_1."), True)
    told = eight.tables["alignment"]["image_recall_at_1_with_limits"]
    assert (told[0], told[4]) == ("0.552 (0.508 to 0.595)", "0.006 (0.002 to 0.017)")


@pytest.mark.parametrize("width", figures.WIDTHS)
@pytest.mark.parametrize(("missing", "drawn"), [([], 8), ([2], 7), ([4, 5], 6), ([1, 2, 3, 4, 5, 6, 7], 1)])
def test_the_pictures_have_no_blanks_whichever_of_the_eight_files_are_here(eight, width, missing, drawn):
    figures.use_style()
    record = smoke_runs.at_width(eight, width)
    record = replace(record, tables={**record.tables, "": record.tables[""].drop(index=missing)})
    for suffix, expected in (("", drawn), ("_live", 2), ("_strip", drawn)):
        figure = gap_figure.DRAWN[suffix](record)
        titles = [ax.get_title("left") for ax in figure.axes]
        assert len(titles) == expected and all(ax.collections for ax in figure.axes)
        assert [sum(f"({letter})" in title for title in titles) for letter in "bc"] == [1, int(expected > 1)]
        smoke_runs.printable(figure, width)


def test_recall_by_hand():
    """Image 1 and texts 0 and 1 find their own; row 3 repeats row 1 and is one item with it."""
    x, y = np.eye(3)[[0, 1, 2, 1]] + 0.1, np.array([[1, 0, 0.5], [0, 1, 0], [1, 0, 0.4], [0, 1, 0]])
    embeddings = Embeddings.of({"image": x, "text": y}, np.tile(np.arange(4)[:, None], 2))
    panel = panels.Panel("", "", panels.OWN, "", embeddings, ("image", "text"))
    found = script.recall(panel, script.PRESETS["smoke"])
    assert (found["image_recall_at_1"], found["text_recall_at_1"], found["chance"]) == (1 / 3, 2 / 3, 1 / 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--embeddings", "{tmp}/nan.npy"), "nan.npy.*image: row 0 holds a value that is not"),
     (("--embeddings", "{tmp}/thin.npy"), "thin.npy.*components must be from 1 to 1"),
     (("--points", 1), "--points must be a whole number of at least 2"),
     (("--embeddings", "{tmp}/nan.npy", "--embeddings", "{tmp}/out/../nan.npy"), "nan.npy: is named twice"),
     (("--seed", 2**40), "--seed must be a whole number from 0 to 2147483648"),
     (("--items", 1), "--items must be a whole number of at least 2"),
     (("--systems",), "there is nothing to draw")],
)  # fmt: skip
def test_bad_files_and_options_are_refused_and_leave_nothing(tmp_path, own_cache, words, said):
    np.save(tmp_path / "nan.npy", np.full((2, 6, 4), np.nan))
    np.save(tmp_path / "thin.npy", np.sign(np.arange(12) - 4.5).reshape(2, 6, 1))
    with pytest.raises(UserError, match=said):
        run(tmp_path / "out", *(str(word).format(tmp=tmp_path) for word in words))
    assert not (tmp_path / "out").exists()
