"""The four systems of Figure 1: what each entry leads to, and all four run by the script with tiny networks."""

from dataclasses import replace
from functools import partial

import numpy as np
import open_clip
import pytest
from PIL import Image
from safetensors.torch import save_file

import panels
import scripts
import tiny_systems
from systems import SYSTEMS, clasp, convirt, videos, x_clip
from util import UserError, cli, published
from util.encoders import hugging_face, open_clip_pair

script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")


@pytest.fixture
def called(monkeypatch):
    """The loaders replaced by notes of how they were called."""
    calls = []
    for module in (open_clip_pair, hugging_face, convirt, x_clip, clasp):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "load", lambda *arguments, name=name: calls.append((name, *arguments)) or name)
    return calls


def test_they_are_those_that_were_published():
    assert set(SYSTEMS) == set(published.SYSTEMS) == set(panels.Inputs(output="").systems)
    assert not any(system.note.endswith(".") for system in SYSTEMS.values())


def test_every_entry_leads_to_the_encoder_pair_that_it_names(called):
    for random in (True, False):
        for key in ("clip", "videoclip", "convirt"):
            SYSTEMS[key].load(SYSTEMS[key].default, random, 7, "cpu", "bfloat16")
    SYSTEMS["clasp"].load(None, True, 7, "cpu", "bfloat16")
    medical, end = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", ("cpu", "bfloat16")
    assert called == [
        ("open_clip_pair", "ViT-B-16-quickgelu", None, 7, *end),
        ("x_clip", "microsoft/xclip-base-patch32", True, 7, *end),
        ("convirt", 7, *end),
        ("open_clip_pair", "ViT-B-16", "openai", 0, *end),
        ("x_clip", "microsoft/xclip-base-patch32", False, 7, *end),
        ("open_clip_pair", medical, "own", 0, *end),
        ("clasp", 7, *end),
    ]
    assert "openai" in open_clip.list_pretrained_tags_by_model("ViT-B-16")
    assert open_clip.get_model_config("ViT-B-16-quickgelu")["quick_gelu"]


@pytest.mark.parametrize(
    ("key", "model", "random", "expected"),
    [("clip", "RN50:yfcc15m", False, ("RN50", "yfcc15m", 0)),
     ("clip", "ViT-B-32:openai", True, ("ViT-B-32-quickgelu", None, 4)),  # as each tag was trained
     ("clip", "ViT-B-32:laion2b_s34b_b79k", True, ("ViT-B-32", None, 4)),
     ("convirt", "local-dir:mine/medical", False, ("local-dir:mine/medical", "own", 0)),
     ("convirt", "ViT-B-32:laion2b_s34b_b79k", True, ("ViT-B-32", None, 4)),
     ("clip", "open_clip:RN50:yfcc15m", False, ("RN50", "yfcc15m", 0)),
     ("clip", "huggingface:mine/siglip", True, ("mine/siglip", True, 4)),
     ("videoclip", "mine/xclip", False, ("mine/xclip", False, 4))],
)  # fmt: skip
def test_another_model_is_taken_as_it_is_named(called, key, model, random, expected):
    SYSTEMS[key].load(model, random, 4, "auto", "float32")
    assert called[0][1:4] == expected


def test_trained_weights_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="RN50: say which trained weights, for instance RN50:openai"):
        SYSTEMS["clip"].load("RN50", False, 0, "cpu", "float32")
    with pytest.raises(UserError, match="torchvision:resnet18: Figure 1 takes models of open_clip"):
        SYSTEMS["clip"].load("torchvision:resnet18", True, 0, "cpu", "float32")
    with pytest.raises(UserError, match="no trained weights can be had; its published embeddings are its trained"):
        SYSTEMS["clasp"].load(None, False, 0, "cpu", "float32")


@pytest.mark.parametrize("key", ["clip", "convirt", "videoclip"])
def test_without_a_network_trained_weights_are_one_line(no_network, key):
    with pytest.raises(UserError, match=r"no connection to http://127.0.0.1:9.*HF_HOME") as caught:
        SYSTEMS[key].load(SYSTEMS[key].default, False, 0, "cpu", "float32")
    assert "\n" not in str(caught.value)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Every architecture at sizes that take no time; videos of as many frames as its X-CLIP takes."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    networks = {
        "videoclip": lambda *how: x_clip.load(x_clip.NAME, True, *how, tiny_systems.x_clip_config()),
        "convirt": lambda *how: convirt.load(*how, tiny_systems.CONVIRT),
        "clasp": lambda *how: clasp.load(*how, tiny_systems.CLASP),
    }
    for key, network in networks.items():

        def load(model, random, *how, network=network, full_size=SYSTEMS[key].load):
            return network(*how) if random else full_size(model, random, *how)

        monkeypatch.setitem(SYSTEMS, key, replace(SYSTEMS[key], load=load))

    def short(n, seed):
        clips = drawn(n, seed)
        return replace(clips, openers=[lambda o=o: o()[: tiny_systems.FRAMES] for o in clips.openers])

    drawn = SYSTEMS["videoclip"].generate
    read = partial(videos.load, frames=tiny_systems.FRAMES)
    monkeypatch.setitem(SYSTEMS, "videoclip", replace(SYSTEMS["videoclip"], generate=short, read=read))


def run(tmp_path, *words, whole=False):
    few = ("--images", 12, "--videos", 3, "--radiographs", 4, "--sequences", 5)
    small = ("--separability-rows", 9, *(() if whole else few))
    words = ("--preset", "smoke", "--output", tmp_path / "out", *small, *words)
    return script.run(cli.parse(script.PRESETS, "", [str(word) for word in words]))


def pictures(folder, *names, mode="L"):
    """Pictures of noise and a table of their captions; a name of two parts is a frame of a video."""
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(folder / name)
    items = dict.fromkeys(name.split("/")[0] for name in names)
    (folder / "captions.csv").write_text("\n".join(["file,text", *(f"{item},about {item}" for item in items)]))
    return folder


def test_all_four_systems_with_random_weights_and_the_small_clip_trained(tmp_path, tiny):
    record = run(tmp_path, "--systems", "clip", "videoclip", "convirt", "clasp")
    table, left_out, data = record.tables[""], " ".join(record.about["left_out"]), record.about["data"]
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
    for said in ("VideoCLIP, trained weights, run here: trained weights are run on real data alone: --video-data",
                 "CLASP, trained weights, run here: no trained weights can be had"):  # fmt: skip
        assert said in left_out
    assert "X-CLIP stands in the place of VideoCLIP" in data[2]["note"] and data[0]["note"] == panels.SMALL_NOTE
    assert data[4]["settings"]["encoder"]["seed"] == 0 and not any("path" in part for part in data)
    assert data[3]["normalised_here"] and set(data[3]["row_norms_before"]) == {"image", "text"}


def test_another_seed_is_another_network_and_is_not_taken_from_the_cache(tmp_path, tiny):
    tables = [run(tmp_path, "--systems", "clip", "clasp", "--seed", seed).tables[""] for seed in (0, 1, 0)]
    gaps = [table[table["weights"] == "random"]["gap_distance"].to_numpy() for table in tables]
    assert (gaps[0] != gaps[1]).all() and (gaps[0] == gaps[2]).all()


def test_own_radiographs_one_of_which_does_not_decode(tmp_path, tiny, capsys):
    own = pictures(tmp_path / "own", "a.png", "b.png", "c.png")
    (own / "c.png").write_bytes(b"not a picture")
    record = run(tmp_path, "--systems", "convirt", "--medical-data", own)
    assert set(record.tables[""]["n_pairs"]) == {2}
    assert record.about["data"][0]["data"]["skipped"][0].startswith("c.png: ")
    assert "1 of 3 photographs left out" in capsys.readouterr().out


def test_own_videos_as_folders_of_frames(tmp_path, tiny):
    names = [f"{name}/frame{k}.png" for name in ("one", "two") for k in range(5)]
    record = run(tmp_path, "--systems", "videoclip", "--video-data", pictures(tmp_path / "own", *names, mode="RGB"))
    assert list(record.tables[""]["n_pairs"]) == [2] and list(record.tables[""]["other"]) == ["video"]
    assert any("trained weights are a download; allow it with --fetch" in line for line in record.about["left_out"])


def test_own_proteins_are_taken_whole_unless_a_number_is_given(tmp_path, tiny):
    path = tmp_path / "own.fasta"
    path.write_text("".join(f">p{k} binds iron\nMKVW\nAC{'ACDEFGHIKL'[k % 10]}\n" for k in range(40)))
    words = ("--systems", "clasp", "--protein-data", path)
    tables = [run(tmp_path, *words, *more, whole=True).tables[""] for more in ((), ("--sequences", 7))]
    assert [int(table["n_pairs"][0]) for table in tables] == [40, 7]
    path.write_text(">p1 binds iron\nMK5VW\n>p2 other\nMKV\n")
    with pytest.raises(UserError, match=r"own.fasta, p1: '5' at position 3 is no amino acid"):
        run(tmp_path, *words)


def test_a_checkpoint_of_your_own_needs_no_fetch_and_is_named_as_what_it_is(tmp_path, tiny):
    made, path = open_clip_pair.load("ViT-S-32-alt", None, 3, "cpu"), tmp_path / "mine.safetensors"
    save_file({name: value.contiguous() for name, value in made.model.state_dict().items()}, path)
    own = pictures(tmp_path / "own", "a.png", "b.png", mode="RGB")
    record = run(tmp_path, "--systems", "clip", "--image-data", own, "--model", f"ViT-S-32-alt:{path}")
    assert list(record.tables[""]["system"]) == ["ViT-S-32-alt mine.safetensors", "ViT-S-32-alt"]
    assert list(record.tables[""]["weights"]) == ["trained", "random"]
    assert record.about["data"][0]["note"].startswith("ViT-S-32-alt mine.safetensors, chosen by option")


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--systems", "clip", "--protein-data", "own.fasta"), "data for clasp, which --systems does not name"),
     (("--image-data", "a", "--coco", "b"), "--coco and --image-data are both images"),
     (("--model", "RN50:openai"), "--model only applies to --image-data, --coco or --preset paper"),
     (("--images", 1), "--images must be a whole number of at least 2")],
)  # fmt: skip
def test_options_that_do_nothing_or_make_no_sense_are_refused(tmp_path, tiny, words, said):
    with pytest.raises(UserError, match=said):
        run(tmp_path, *words)


@pytest.mark.parametrize(
    ("option", "system", "said"),
    [("--image-data", "clip", "captions.csv"), ("--coco", "clip", "no captions of split"),
     ("--video-data", "videoclip", "captions.csv"), ("--protein-data", "clasp", "nowhere")],
)  # fmt: skip
def test_own_data_that_are_not_there_end_the_run(tmp_path, tiny, option, system, said):
    (tmp_path / "empty").mkdir()
    where = tmp_path / ("nowhere.fasta" if system == "clasp" else "empty")
    with pytest.raises(UserError, match=said):
        run(tmp_path, "--systems", system, option, where)
    assert not (tmp_path / "out").exists()


def test_trained_weights_that_cannot_be_had_are_named_and_the_rest_is_drawn(tmp_path, tiny, monkeypatch):
    made = SYSTEMS["convirt"].load

    def load(model, random, *rest):
        if not random:
            raise UserError(f"{model} could not be fetched")
        return made(model, random, *rest)

    monkeypatch.setitem(SYSTEMS, "convirt", replace(SYSTEMS["convirt"], load=load))
    monkeypatch.setattr("util.published.fetch_all", lambda say: {})
    own = pictures(tmp_path / "own", "a.png", "b.png")
    record = run(tmp_path, "--systems", "convirt", "--medical-data", own, "--fetch")
    assert list(record.tables[""]["weights"]) == ["random"]
    assert any("BiomedCLIP" in line and "could not be fetched" in line for line in record.about["left_out"])
