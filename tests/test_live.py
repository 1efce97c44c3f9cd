"""The four systems run through the script of Figure 1: tiny networks in the place of full-size ones, real readers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import scripts
from test_clasp import TINY as TINY_CLASP
from test_convirt import TINY as TINY_CONVIRT
from test_x_clip import FRAMES, sizes
from util import UserError, cli, live, records
from util.corpora import generated
from util.encoders import clasp, convirt, open_clip_pair, x_clip

script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Every architecture at sizes that take no time; videos of as many frames as its X-CLIP takes."""

    def x_clip_load(seed, device, precision):
        return x_clip.load(random=True, seed=seed, device=device, precision=precision, config=sizes())

    networks = {
        "videoclip": x_clip_load,
        "convirt": lambda seed, device, precision: convirt.load(seed, device, precision, TINY_CONVIRT),
        "clasp": lambda seed, device, precision: clasp.load(seed, device, precision, TINY_CLASP),
    }
    systems = {k: replace(s, untrained=networks.get(k, s.untrained)) for k, s in live.SYSTEMS.items()}
    monkeypatch.setattr(live, "SYSTEMS", systems)
    drawn = generated.GENERATED["videoclip"]

    def short(n, seed):
        clips = drawn(n, seed)
        return replace(clips, openers=[lambda o=o: o()[:FRAMES] for o in clips.openers])

    monkeypatch.setitem(generated.GENERATED, "videoclip", short)
    read = live.RUNS["videoclip"]
    frames = replace(read, read=lambda path, caption, n: live.videos.load(path, caption, n, FRAMES))
    monkeypatch.setitem(live.RUNS, "videoclip", frames)


def run(tmp_path, *words):
    small = ("--images", 12, "--videos", 3, "--radiographs", 4, "--sequences", 5, "--separability-rows", 9)
    words = ("--preset", "smoke", "--output", tmp_path / "out", *small, *words)
    script.main(cli.parse(script.PRESETS, "", [str(word) for word in words]))
    return records.load(tmp_path / "out", "modality_gap")


def test_all_four_systems_with_random_weights_and_the_small_clip_trained(tmp_path):
    record = run(tmp_path, "--systems", "clip", "videoclip", "convirt", "clasp")
    table = record.tables[""]
    assert list(zip(table["system"], table["weights"], strict=True)) == [
        ("CLIP", "trained"), ("CLIP", "random"), ("VideoCLIP", "random"), ("ConVIRT", "random"), ("CLASP", "random"),
    ]  # fmt: skip
    assert list(table["n_pairs"]) == [12, 12, 3, 4, 5]
    assert list(table["other"]) == ["image", "image", "video", "image", "amino acid"]
    assert table["source"][2:].tolist() == [
        "X-CLIP base, generated scenes in motion", "ConVIRT, generated noise radiographs",
        "CLASP, generated amino-acid sequences",
    ]  # fmt: skip
    left_out = " ".join(record.about["left_out"])
    for said in ("VideoCLIP, trained weights, run here: trained weights are a download", "CLASP, trained weights"):
        assert said in left_out
    assert "X-CLIP stands in the place of VideoCLIP" in record.about["data"][2]["system"]["note"]
    assert record.about["data"][4]["settings"]["encoder"]["seed"] == 0


def test_another_seed_is_another_network_and_is_not_taken_from_the_cache(tmp_path):
    tables = [run(tmp_path, "--systems", "clip", "clasp", "--seed", seed).tables[""] for seed in (0, 1, 0)]
    gaps = [table[table["weights"] == "random"]["gap_distance"].to_numpy() for table in tables]
    assert (gaps[0] != gaps[1]).all() and (gaps[0] == gaps[2]).all()


def picture(path, level=100, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(level).integers(0, 255, (40, 40), dtype=np.uint8)).convert(mode).save(path)


def table(folder, names):
    rows = [f"{name},about the {word} one" for name, word in zip(names, ("first", "second", "third"), strict=False)]
    (folder / "captions.csv").write_text("\n".join(["file,text", *rows]))


def test_own_radiographs_one_of_which_does_not_decode(tmp_path, capsys):
    own = tmp_path / "own"
    for k, name in enumerate(("a.png", "b.png")):
        picture(own / name, k)
    (own / "c.png").write_bytes(b"not a picture")
    table(own, ("a.png", "c.png", "b.png"))
    record = run(tmp_path, "--systems", "convirt", "--medical-data", own)
    assert list(record.tables[""]["n_pairs"]) == [2]
    assert record.about["data"][0]["data"]["skipped"][0].startswith("c.png: ")
    assert "1 of 3 photographs left out" in capsys.readouterr().out


def test_own_videos_as_folders_of_frames(tmp_path):
    for name in ("one", "two"):
        for k in range(5):
            picture(tmp_path / "own" / name / f"frame{k}.png", k + len(name), "RGB")
    table(tmp_path / "own", ("one", "two"))
    record = run(tmp_path, "--systems", "videoclip", "--video-data", tmp_path / "own")
    assert list(record.tables[""]["n_pairs"]) == [2] and list(record.tables[""]["other"]) == ["video"]


def test_own_proteins_and_a_letter_that_is_none(tmp_path):
    path = tmp_path / "own.fasta"
    path.write_text(">p1 binds iron\nMKVW\nACD\n>p2 a membrane protein\nGGGHW\n>p3 unknown\nLLKW\n")
    record = run(tmp_path, "--systems", "clasp", "--protein-data", path)
    assert list(record.tables[""]["n_pairs"]) == [3]
    path.write_text(">p1 binds iron\nMK5VW\n>p2 other\nMKV\n")
    with pytest.raises(UserError, match=r"own.fasta, p1: '5' at position 3 is no amino acid"):
        run(tmp_path, "--systems", "clasp", "--protein-data", path)


def test_own_pictures_with_any_open_clip_model(tmp_path, monkeypatch):
    asked = []

    def load(model, pretrained, seed, device, precision):
        asked.append((model, pretrained, seed))
        return convirt.load(seed, device, precision, TINY_CONVIRT)

    monkeypatch.setattr(open_clip_pair, "load", load)
    for k, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "own" / name, k, "RGB")
    table(tmp_path / "own", ("a.png", "b.png"))
    words = ("--systems", "clip", "--image-data", tmp_path / "own", "--model", "ViT-B-32:laion2b_s34b_b79k")
    record = run(tmp_path, *words, "--seed", 4)
    assert asked == [("ViT-B-32", None, 4)]
    assert list(record.tables[""]["weights"]) == ["random"]


@pytest.mark.parametrize(
    ("option", "system", "said"),
    [("--image-data", "clip", "captions.csv"), ("--coco", "clip", "no captions of split"),
     ("--video-data", "videoclip", "captions.csv"), ("--protein-data", "clasp", "nowhere")],
)  # fmt: skip
def test_data_of_ones_own_that_are_not_there_end_the_run(tmp_path, option, system, said):
    (tmp_path / "empty").mkdir()
    where = tmp_path / ("nowhere.fasta" if system == "clasp" else "empty")
    with pytest.raises(UserError, match=said):
        run(tmp_path, "--systems", system, option, where)
    assert not (tmp_path / "out").exists()


def test_trained_weights_that_cannot_be_had_are_named_and_the_rest_is_drawn(tmp_path, monkeypatch):
    def refused(model, device, precision):
        raise UserError(f"{model} could not be fetched")

    monkeypatch.setitem(live.SYSTEMS, "convirt", replace(live.SYSTEMS["convirt"], fetch=refused))
    monkeypatch.setattr("util.published.fetch_all", lambda say: {})
    record = run(tmp_path, "--systems", "convirt", "--fetch")
    assert list(record.tables[""]["weights"]) == ["random"]
    assert any("BiomedCLIP" in line and "could not be fetched" in line for line in record.about["left_out"])
