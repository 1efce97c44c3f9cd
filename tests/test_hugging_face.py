"""Encoder pairs of transformers, on models so small that they take no time: real code, random weights, no network."""

import json
import shutil

import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from tiny_transformers import CONTEXT, LAYERS, LETTERS, SIDE, STARK, bert_tokenizer, clip_tokenizer
from util import UserError
from util.encoders import hugging_face

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 20, "cats"]


def gemma_tokenizer():
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS, *LETTERS.upper()]
    return transformers.GemmaTokenizer({t: i for i, t in enumerate(tokens)}, [])


def siglip_tokenizer(folder):
    """SigLIP's own class on a sentencepiece model of 60 pieces, trained here."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{a}{b} {b}" for a in LETTERS for b in LETTERS]),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=CONTEXT)


def clip_model(end, kind="CLIP", **text):
    sizes = {"vocab_size": 57, "max_position_embeddings": CONTEXT, "eos_token_id": end, **LAYERS, **text}
    config = getattr(transformers, f"{kind}Config")(
        text_config=sizes, vision_config={"image_size": SIDE, "patch_size": 16, **LAYERS}, projection_dim=24
    )
    return getattr(transformers, f"{kind}Model")(config)


def siglip_model():
    text = {"vocab_size": 64, "max_position_embeddings": CONTEXT, "projection_size": 32, **LAYERS}
    vision = {"image_size": SIDE, "patch_size": 16, **LAYERS}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))


def chinese_clip_model():
    text = {"vocab_size": 57, "max_position_embeddings": CONTEXT, "pad_token_id": 0, **STARK}
    vision = {"image_size": SIDE, "patch_size": 16, **LAYERS}
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    return transformers.ChineseCLIPModel(config)


def two_bert_model():
    """Any image network beside any text network; here ViT and BERT."""
    vision = transformers.ViTConfig(image_size=SIDE, patch_size=16, **LAYERS)
    text = transformers.BertConfig(vocab_size=57, max_position_embeddings=CONTEXT, pad_token_id=0, **STARK)
    both = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=24)
    return transformers.VisionTextDualEncoderModel(both)


def clip_processor():
    return transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE)


MAKERS = {
    "clip": lambda folder: (clip_model(56), clip_tokenizer(), clip_processor()),
    "clip as released": lambda folder: (clip_model(2), clip_tokenizer(), clip_processor()),
    "metaclip": lambda folder: (clip_model(56, "MetaClip2"), clip_tokenizer(), clip_processor()),
    "owlvit": lambda folder: (clip_model(56, "OwlViT"), clip_tokenizer(), clip_processor()),
    "chinese clip": lambda folder: (chinese_clip_model(), bert_tokenizer(), clip_processor()),
    "two towers": lambda folder: (two_bert_model(), bert_tokenizer(), clip_processor()),
    "siglip": lambda folder: (
        siglip_model(),
        siglip_tokenizer(folder),
        transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}),
    ),
}
CUT = [name for name in MAKERS if name != "siglip"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that gives the folder of one of ``MAKERS``, made once, and the model that it was made from."""
    made = {}

    def folder(name):
        if name not in made:
            path = tmp_path_factory.mktemp("models") / name
            path.mkdir()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(len(name))
                parts = MAKERS[name](path)
            for part in parts:
                part.save_pretrained(path)
            made[name] = path, parts[0].eval()
        return made[name]

    return folder


@pytest.fixture
def own(saved, tmp_path):
    """A function that copies one of ``MAKERS`` to a folder of the test's own, to be damaged."""
    return lambda name="clip": shutil.copytree(saved(name)[0], tmp_path / "copy")


@pytest.fixture
def photographs(rng):
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(7)]


def load(path, **options):
    return hugging_face.load(str(path), device="cpu", **options)


def vectors(given):
    given = given if isinstance(given, torch.Tensor) else given.pooler_output
    return normalize(given, dim=1).numpy()


@torch.no_grad()
def own_texts(model, tokenizer, captions, mask=True):
    """What the model itself makes of captions of the whole length."""
    given = tokenizer(captions, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")
    return vectors(model.get_text_features(**given if mask else {"input_ids": given["input_ids"]}))


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_those_of_the_model_itself(saved, photographs, name):
    folder, model = saved(name)
    pair = load(folder)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")(photographs, return_tensors="pt")
    with torch.no_grad():
        images = vectors(model.get_image_features(**pixels))
    texts = own_texts(model, transformers.AutoTokenizer.from_pretrained(folder), CAPTIONS, mask=name != "siglip")
    for rows, theirs in ((pair.encode_non_text(iter(photographs)), images), (pair.encode_texts(CAPTIONS), texts)):
        assert (rows.dtype, rows.shape) == (np.float32, (len(theirs), pair.dim))
        assert np.allclose(rows, theirs, atol=1e-6)
    assert np.ptp(texts, axis=0).max() > 0.05


@pytest.mark.parametrize("name", CUT)
def test_captions_are_encoded_at_their_true_length(saved, name):
    folder, _ = saved(name)
    pair = load(folder)
    tokens = pair.text.prepare(CAPTIONS)
    words = transformers.AutoTokenizer.from_pretrained(folder)(CAPTIONS, truncation=True, max_length=CONTEXT)
    assert pair.text.lengths(tokens).tolist() == [len(row) for row in words["input_ids"]]
    seen = []
    handle = pair.model.text_model.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    pair.encode_texts(["a cat", "cats"])
    handle.remove()
    assert seen == [int(pair.text.lengths(tokens)[[0, 4]].max())]
    assert seen[0] < tokens.shape[1] == CONTEXT


def test_noise_is_cut_where_the_tower_reads_it(saved):
    for name in CUT:
        pair = load(saved(name)[0])
        noise = pair.text.noise(20, 3)
        whole = pair.model.get_text_features(noise, **hidden(pair, noise))
        assert np.allclose(pair.text.encode(noise, 6), vectors(whole), atol=1e-6)
        assert (pair.text.lengths(noise).min() < CONTEXT) == (name not in ("chinese clip", "two towers"))


def hidden(pair, tokens):
    """The mask of towers that need one; the padding of ours has number 0."""
    return {"attention_mask": (tokens != 0).long()} if "masked" in pair.text.settings["tokenizer"]["reading"] else {}


def test_captions_of_siglip_have_the_whole_length(saved):
    pair = load(saved("siglip")[0])
    assert pair.text.lengths is None
    assert pair.text.prepare(["a cat"]).shape == (1, CONTEXT)
    assert pair.settings["tokenizer"]["reading"] == "whole length"
    assert np.allclose(pair.encode_texts(["A cat."]), pair.encode_texts(["a cat"]), atol=1e-6)


def test_the_second_siglip_reads_lower_case(own):
    folder = own("siglip")
    (folder / "spiece.model").unlink()
    for file in folder.glob("*token*"):
        file.unlink()
    gemma_tokenizer().save_pretrained(folder)
    pair = load(folder)
    assert pair.settings["tokenizer"] == {"class": "GemmaTokenizer", "lower_case": True, "reading": "whole length"}
    rows = pair.encode_texts(["A CAT", "a cat", "a dog"])
    assert np.array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2], atol=1e-3)


@pytest.mark.parametrize("name", ["clip", "chinese clip", "siglip"])
def test_the_batch_size_changes_nothing_but_rounding(saved, photographs, name):
    pair = load(saved(name)[0])
    for size in (1, 3, 64):
        assert np.allclose(pair.encode_non_text(photographs, size), pair.encode_non_text(photographs), atol=1e-6)
        assert np.allclose(pair.encode_texts(CAPTIONS, size), pair.encode_texts(CAPTIONS), atol=1e-6)


def test_pictures_have_the_pixels_of_the_released_preprocessing(own, rng):
    from torchvision import transforms

    folder = own()
    about = json.loads((folder / "preprocessor_config.json").read_text())
    picture = Image.fromarray(rng.integers(0, 256, (90, 64, 3), dtype=np.uint8))  # 45 by 32, a margin of 13
    square = picture.crop((0, 0, 64, 64))
    scaled = [
        transforms.Resize(SIDE, transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(about["image_mean"], about["image_std"]),
    ]
    prepare = load(folder).non_text.prepare
    assert torch.allclose(prepare([square])[0], transforms.Compose(scaled)(square), atol=1e-6)
    assert torch.allclose(prepare([picture])[0], transforms.Compose(scaled)(picture)[:, 6 : 6 + SIDE], atol=1e-6)
    (folder / "preprocessor_config.json").write_text(json.dumps({**about, "do_convert_rgb": False}))
    prepare = load(folder).non_text.prepare
    assert torch.equal(prepare([square.convert("L")]), prepare([square.convert("L").convert("RGB")]))


def test_random_weights_depend_on_the_seed_alone_and_disturb_nothing(own, photographs):
    folder = own()
    (folder / "model.safetensors").unlink()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = load(folder, random=True, seed=3)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    again = load(folder, random=True, seed=3)
    assert np.array_equal(again.encode_non_text(photographs), first.encode_non_text(photographs))
    assert np.array_equal(again.encode_texts(CAPTIONS), first.encode_texts(CAPTIONS))
    other = load(folder, random=True, seed=4)
    assert not np.allclose(other.encode_non_text(photographs), first.encode_non_text(photographs), atol=0.1)
    assert (first.non_text.weights, first.name) == ("random", "copy random weights, seed 3")
    assert (first.settings["seed"], first.settings["checkpoint"], first.settings["pretrained"]) == (3, None, None)


def test_loading_trained_weights_disturbs_nothing(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(saved("clip")[0])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_settings_are_plain_and_name_no_place(saved, name):
    folder, _ = saved(name)
    pair = load(folder)
    for about in (pair.describe(), dict(pair.non_text.settings), dict(pair.text.settings)):
        assert json.loads(json.dumps(about)) == about
        assert str(folder.parent) not in json.dumps(about)
        assert (about["model"], about["pretrained"], about["revision"], about["seed"]) == (name, name, None, None)
        assert about["encoder"] == f"transformers {transformers.__version__}"
        assert (about["dtype"], about["device"], about["context_length"]) == ("float32", "cpu", CONTEXT)
        assert about["dim"] == pair.dim == (24 if name == "clip" else 32)
        assert len(about["checkpoint"]) == len(about["configuration"]) == 64
        assert {"size", "image_mean", "image_std", "resample"} <= set(about["pixels"])
        assert about["pixels"]["image_processor_type"].endswith("ImageProcessorPil")
    assert (pair.non_text.settings["modality"], pair.text.settings["modality"]) == ("image", "text")
    assert (pair.non_text.modality, pair.text.modality) == ("image", "text")
    assert (pair.non_text.name, pair.non_text.weights) == (name, name)


def test_the_settings_tell_other_weights_and_other_tokenizers(own):
    folder = own()
    before = load(folder).settings
    clip_model(56).save_pretrained(folder)
    weights = load(folder).settings
    assert weights["checkpoint"] != before["checkpoint"]
    assert weights["configuration"] == before["configuration"]
    words = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**words, "model_max_length": 9}))
    tokenizer = load(folder).settings
    assert tokenizer["configuration"] != before["configuration"]
    assert tokenizer["context_length"] == 9


def test_weights_in_several_files_are_one_model(own, photographs):
    folder = own()
    whole = load(folder)
    (folder / "model.safetensors").unlink()
    whole.model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    parts = load(folder)
    assert np.array_equal(parts.encode_non_text(photographs), whole.encode_non_text(photographs))
    assert len(parts.settings["checkpoint"]) == 64


def test_noise_has_the_shape_of_the_inputs_and_gives_unit_rows(saved):
    for name in ("clip", "siglip"):
        pair = load(saved(name)[0])
        assert pair.non_text.noise(3, 0).shape == (3, 3, SIDE, SIDE)
        assert pair.text.noise(3, 0).shape == (3, CONTEXT)
        vocabulary = pair.model.config.text_config.vocab_size
        assert pair.text.noise(500, 0).max() == vocabulary - 1
        for tower in (pair.non_text, pair.text):
            assert np.allclose(np.linalg.norm(tower.encode(tower.noise(3, 0)), axis=1), 1, atol=1e-6)


def test_bfloat16_changes_little(saved, photographs):
    exact, coarse = (load(saved("clip")[0], precision=precision) for precision in ("float32", "bfloat16"))
    assert coarse.settings["dtype"] == "bfloat16"
    for ours, theirs in (
        (coarse.encode_non_text(photographs), exact.encode_non_text(photographs)),
        (coarse.encode_texts(CAPTIONS), exact.encode_texts(CAPTIONS)),
    ):
        assert 0.999 < (ours * theirs).sum(1).min() < 1 - 1e-7


def test_nothing_is_said_while_a_model_loads(own, capfd, caplog, recwarn):
    folder = own()
    save_file({**load_file(folder / "model.safetensors"), "odd": torch.zeros(1)}, folder / "model.safetensors")
    transformers.logging.get_logger().addHandler(caplog.handler)
    try:
        load(folder)
        load(folder, random=True)
    finally:
        transformers.logging.get_logger().removeHandler(caplog.handler)
    assert (capfd.readouterr(), caplog.text, list(recwarn)) == (("", ""), "", [])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("someone/something-else", "no connection to http://127.0.0.1:9, and not whole in its cache.*HF_HOME"),
        ("not a name", "not a name could not be fetched"),
    ],
)
@pytest.mark.parametrize("random", [False, True])
def test_a_model_that_cannot_be_fetched_is_one_line_soon(caplog, capfd, name, words, random):
    with pytest.raises(UserError, match=words) as caught:
        load(name, random=random)
    assert "\n" not in str(caught.value)
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_a_repository_in_the_cache_is_found_without_a_network(saved, tmp_path, photographs):
    commit = "0123456789abcdef0123456789abcdef01234567"
    stored = tmp_path / "hub" / "models--someone--something"
    shutil.copytree(saved("clip")[0], stored / "snapshots" / commit)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    pair = load("someone/something")
    assert pair.settings["model"] == pair.settings["pretrained"] == pair.non_text.name == "someone/something"
    assert pair.settings["revision"] == commit
    assert (pair.non_text.weights, pair.settings["checkpoint"]) == ("something", None)
    assert np.array_equal(pair.encode_non_text(photographs), load(saved("clip")[0]).encode_non_text(photographs))
    assert load("someone/something", revision=commit).non_text.weights == commit


def test_only_what_is_read_is_asked_of_the_hub(saved, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, revision, allow_patterns, ignore_patterns):
        files = ["config.json", "vocab.json", "merges.txt", "spiece.model", "model.safetensors", "model-1.safetensors"]
        others = ["pytorch_model.bin", "modeling.py", "open_clip_model.safetensors", "onnx/config.json", "flax.msgpack"]
        patterns = {"allow_patterns": allow_patterns, "ignore_patterns": ignore_patterns}
        asked.append((name, revision, list(huggingface_hub.utils.filter_repo_objects([*files, *others], **patterns))))
        return str(saved("clip")[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    load("someone/something", revision="v1")
    load("someone/something", random=True)
    plain = ["config.json", "vocab.json", "merges.txt", "spiece.model"]
    assert asked == [
        ("someone/something", "v1", [*plain, "model.safetensors", "model-1.safetensors"]),
        ("someone/something", None, plain),
    ]


def refusal(path, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_folders_that_are_no_model_are_refused(tmp_path, own):
    refusal(tmp_path / "absent", "absent: no such folder")
    refusal("./absent", "absent: no such folder")
    refusal("a/b/c", "a/b/c: no such folder")
    refusal(tmp_path, r"there is no config\.json", random=True)
    refusal(own(), "a folder has no revision 'main'", revision="main")


@pytest.mark.parametrize("damage", ["cut off", "another model", "other sizes", "part of it"])
def test_weights_that_are_damaged_or_do_not_fit_are_refused(own, damage):
    folder, match = own(), r"\d+ weights of CLIPModel are not there, or not of its shape"
    file = folder / "model.safetensors"
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-4])
        match = "could not load it .*incomplete"
    elif damage == "other sizes":
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["vocab_size"] = 90
        (folder / "config.json").write_text(json.dumps(config))
    else:
        model = siglip_model() if damage == "another model" else clip_model(56).vision_model
        config = (folder / "config.json").read_text()
        model.save_pretrained(folder)
        (folder / "config.json").write_text(config)
    refusal(folder, f"^copy: .*{match}")


def test_pickled_weights_are_never_read(own, monkeypatch):
    opened = []
    monkeypatch.setattr(torch, "load", lambda *args, **options: opened.append(args))
    folder = own()
    weights = load(folder).model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    refusal(folder, r"no weights in model\.safetensors; pickled ones")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "pytorch_model.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal(folder, r"not all there as safetensors: pytorch_model\.bin")
    (folder.parent / "elsewhere.safetensors").touch()
    index["weight_map"] = dict.fromkeys(weights, "../elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal(folder, "not all there as safetensors")
    assert not opened


def test_transformers_is_told_to_read_and_nothing_else(saved, monkeypatch):
    told = []
    for part in ("AutoConfig", "AutoModel", "AutoImageProcessor", "AutoTokenizer"):
        kind = getattr(transformers, part)
        read = kind.from_pretrained
        monkeypatch.setattr(
            kind, "from_pretrained", lambda *a, read=read, **options: told.append(options) or read(*a, **options)
        )
    load(saved("clip")[0])
    ours = [options for options in told if options.get("trust_remote_code") is False and options["local_files_only"]]
    assert len(ours) >= 4
    assert sum(options.get("use_safetensors", False) for options in told) == 1


def test_a_configuration_cannot_choose_weights_or_kernels(own, tmp_path):
    folder = own()
    config = json.loads((folder / "config.json").read_text())
    config |= {"transformers_weights": "adapter_model.bin", "attn_implementation": "someone/kernels"}
    config["text_config"]["attn_implementation"] = "someone/kernels"
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).model.text_model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_code_beside_a_model_is_never_run(own, tmp_path, file):
    folder = own()
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    about = json.loads((folder / file).read_text())
    for key in ("model_type", "tokenizer_class", "image_processor_type"):
        about = {**about, key: "theirs"} if key in about else about
    names = {"AutoConfig": "theirs.A", "AutoModel": "theirs.B", "AutoTokenizer": ["theirs.C", None]}
    about["auto_map"] = {**names, "AutoImageProcessor": "theirs.D"}
    (folder / file).write_text(json.dumps(about))
    try:
        load(folder)
    except UserError as error:
        assert "\n" not in str(error)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["Bert", "CLIPText", "CLIPVision"])
def test_models_without_both_towers_are_refused(tmp_path, kind):
    getattr(transformers, f"{kind}Config")(**LAYERS).save_pretrained(tmp_path)
    refusal(tmp_path, "has not both an image and a text tower")
    refusal(tmp_path, "has not both an image and a text tower", random=True)


def test_models_that_give_no_vector_each_are_refused(tmp_path):
    parts = {"image_size": SIDE, "patch_size": 16, **LAYERS}
    text = {"vocab_size": 57, "max_position_embeddings": CONTEXT, **LAYERS}
    shared = {"multimodal_config": LAYERS, "hidden_size": 32, "image_codebook_config": {"n_hid": 8, "vocab_size": 16}}
    transformers.FlavaConfig(text_config=text, image_config=parts, **shared).save_pretrained(tmp_path)
    for part in (bert_tokenizer(), clip_processor()):
        part.save_pretrained(tmp_path)
    refusal(tmp_path, r"a picture gives \[1, 5, 768\], a text \[1, 13, 768\], not \[1, d\] both", random=True)


def test_pictures_of_varying_size_are_refused(tmp_path):
    text = {"vocab_size": 57, "max_position_embeddings": CONTEXT, "projection_size": 32, **LAYERS}
    vision = {"num_patches": 16, "patch_size": 16, **LAYERS}
    transformers.Siglip2Config(text_config=text, vision_config=vision).save_pretrained(tmp_path)
    for part in (bert_tokenizer(), transformers.Siglip2ImageProcessor()):
        part.save_pretrained(tmp_path)
    refusal(tmp_path, "pixel_attention_mask.*not pixels of one size alone", random=True)


def test_a_text_tower_that_depends_on_its_padding_is_refused(tmp_path):
    clip_model(56, "Aimv2").save_pretrained(tmp_path)
    for part in (clip_tokenizer(), clip_processor()):
        part.save_pretrained(tmp_path)
    refusal(tmp_path, "Aimv2Model gives other numbers when a caption is padded")


@pytest.mark.parametrize("end", [5, 2])
def test_an_end_token_that_the_tower_does_not_read_is_refused(own, end):
    folder = own()
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = end
    (folder / "config.json").write_text(json.dumps(config))
    if end == 2:  # the largest number: that of this tokenizer's end token
        assert load(folder).encode_texts(["a cat"]).shape == (1, 24)
    else:
        refusal(folder, r"end in '<\|endoftext\|>', number 56.*eos_token_id 5")


def test_folders_without_tokenizer_or_preprocessing_are_refused(own):
    folder = own()
    (folder / "preprocessor_config.json").unlink()
    refusal(folder, "could not load it")
    for file in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("merges*")):
        file.unlink()
    clip_processor().save_pretrained(folder)
    refusal(folder, "there is no tokenizer")


def test_embeddings_over_seeds_are_kept_by_what_the_folder_holds(own, tmp_path, monkeypatch):
    import tower_inputs as inputs
    from seeded_embeddings import embed
    from util.encoders.named import Named
    from util.encoders.tower import Tower

    folder = own()
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    encoded, encode = [], Tower.encode
    monkeypatch.setattr(Tower, "encode", lambda tower, *a, **k: (encoded.append(1), encode(tower, *a, **k))[1])
    what = [inputs.noise("image", 2, 0), inputs.noise("text", 3, 0)]

    def rows(seeds):
        return [each.rows for each in embed(Named.parse(f"huggingface:{folder}"), what, seeds, device="cpu")]

    first = rows([0, None])
    assert len(encoded) == 4
    again = rows([0, None])
    assert len(encoded) == 4, "the second time from the cache"
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0], first[2], atol=1e-3), "random and trained weights differ"
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"do_normalize": true', '"do_normalize": false'))
    rows([0])
    assert len(encoded) == 6, "another configuration is another encoder"
