"""The four systems of Figure 1: what each entry leads to, and all four run by the script with tiny networks."""

import runpy
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import panels
import reference
import scripts
import smoke_runs
import tiny_systems
from systems import SYSTEMS, clasp, convirt, x_clip
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError, cli, published
from util.corpora.generated.pictures import captioned_scenes
from util.encoders.named import Named

script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")


def test_they_are_those_that_were_published():
    assert set(SYSTEMS) == set(published.SYSTEMS) == set(panels.Inputs(output="").systems)
    assert not any(system.note.endswith(".") for system in SYSTEMS.values())


@pytest.fixture
def tiny(monkeypatch, own_cache):
    """Every architecture at sizes that take no time."""
    monkeypatch.setattr(x_clip, "load", partial(x_clip.load, config=tiny_systems.x_clip_config(frames=8)))
    monkeypatch.setattr(convirt, "load", partial(convirt.load, sizes=tiny_systems.CONVIRT))
    monkeypatch.setattr(clasp, "load", partial(clasp.load, sizes=tiny_systems.CLASP))


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
