"""The four systems run through the script of Figure 1: tiny networks in the place of full-size ones, real readers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import live
import scripts
from systems import clasp, convirt, x_clip
from systems import generated_inputs as generated
from test_clasp import TINY as TINY_CLASP
from test_convirt import TINY as TINY_CONVIRT
from test_x_clip import FRAMES, sizes
from util import UserError, cli, records
from util.encoders import open_clip_pair

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


def run(tmp_path, *words, whole=False):
    few = ("--images", 12, "--videos", 3, "--radiographs", 4, "--sequences", 5)
    small = ("--separability-rows", 9, *(() if whole else few))
    words = ("--preset", "smoke", "--output", tmp_path / "out", *small, *words)
    script.main(cli.parse(script.PRESETS, "", [str(word) for word in words]))
    return records.load(tmp_path / "out", "modality_gap")


def test_all_four_systems_with_random_weights_and_the_small_clip_trained(tmp_path):
    record = run(tmp_path, "--systems", "clip", "videoclip", "convirt", "clasp")
    table = record.tables[""]
    assert list(zip(table["kind"], table["system"], table["weights"], table["source"], strict=True)) == [
        ("image-text", "small CLIP", "trained", "generated scenes"),
        ("image-text", "small CLIP", "random", "generated scenes"),
        ("video-text", "X-CLIP base", "random", "generated scenes in motion"),
        ("medical image-text", "ConVIRT", "random", "generated noise radiographs, random sentences"),
        ("protein-text", "CLASP", "random",
         "generated amino-acid sequences at natural frequencies, random texts"),
    ]  # fmt: skip
    assert list(table["n_pairs"]) == [12, 12, 3, 4, 5]
    assert list(table["other"]) == ["image", "image", "video", "image", "amino acid"]
    left_out = " ".join(record.about["left_out"])
    for said in ("VideoCLIP, trained weights, run here: trained weights are run on real data alone: --video-data",
                 "CLASP, trained weights, run here: no trained weights can be had"):  # fmt: skip
        assert said in left_out
    data = record.about["data"]
    assert "X-CLIP stands in the place of VideoCLIP" in data[2]["note"] and data[0]["note"] == live.SMALL_NOTE
    assert data[4]["settings"]["encoder"]["seed"] == 0
    assert not any("path" in part for part in data)
    assert data[3]["normalised_here"] and set(data[3]["row_norms_before"]) == {"image", "text"}


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
    words = ("--systems", "clip", "--image-data", tmp_path / "own", "--seed", 4, "--model")
    tables = [run(tmp_path, *words, model).tables[""] for model in ("ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:openai")]
    assert asked == [("ViT-B-32", None, 4), ("ViT-B-32-quickgelu", None, 4)]  # as each tag was trained
    assert all(list(table["weights"]) == ["random"] for table in tables)
    assert not any(table["system"].str.contains("ViT-B/16").any() for table in tables)


def test_a_checkpoint_of_ones_own_needs_no_fetch_and_is_named_as_what_it_is(tmp_path):
    made = open_clip_pair.load("ViT-S-32-alt", None, 3, "cpu")
    path = tmp_path / "mine.safetensors"
    save_file({name: value.contiguous() for name, value in made.model.state_dict().items()}, path)
    for k, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "own" / name, k, "RGB")
    table(tmp_path / "own", ("a.png", "b.png"))
    words = ("--systems", "clip", "--image-data", tmp_path / "own", "--model", f"ViT-S-32-alt:{path}")
    record = run(tmp_path, *words)
    assert list(record.tables[""]["system"]) == ["ViT-S-32-alt mine.safetensors", "ViT-S-32-alt"]
    assert list(record.tables[""]["weights"]) == ["trained", "random"]
    assert record.about["data"][0]["note"].startswith("ViT-S-32-alt mine.safetensors, chosen by option")


def test_data_of_ones_own_are_taken_whole_unless_a_number_is_given(tmp_path):
    (tmp_path / "own.tsv").write_text(
        "sequence\ttext\n" + "".join(f"MKV{'ACDEFGHIKL'[k % 10]}W\tp{k}\n" for k in range(40))
    )
    words = ("--systems", "clasp", "--protein-data", tmp_path / "own.tsv")
    tables = [run(tmp_path, *words, *more, whole=True).tables[""] for more in ((), ("--sequences", 7))]
    assert [int(table["n_pairs"][0]) for table in tables] == [40, 7]


def test_data_that_no_system_takes_or_two_places_for_them_are_refused(tmp_path):
    with pytest.raises(UserError, match="data for clasp, which --systems does not name"):
        run(tmp_path, "--systems", "clip", "--protein-data", "own.fasta")
    with pytest.raises(UserError, match="--coco and --image-data are both images"):
        run(tmp_path, "--systems", "clip", "--image-data", "a", "--coco", "b")


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
    for k, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "own" / name, k)
    table(tmp_path / "own", ("a.png", "b.png"))
    words = ("--systems", "convirt", "--medical-data", tmp_path / "own")
    record = run(tmp_path, *words, "--fetch")
    assert list(record.tables[""]["weights"]) == ["random"]
    assert any("BiomedCLIP" in line and "could not be fetched" in line for line in record.about["left_out"])
    record = run(tmp_path, *words)
    assert any("trained weights are a download; allow it with --fetch" in line for line in record.about["left_out"])
