"""Models of transformers and of open_clip, of lists, folders and repositories: real code, tiny models."""

import itertools
import json
import pickle
import shutil
from typing import NamedTuple

import numpy as np
import open_clip
import pytest
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

import tiny_encoders as tinies
from encoder_inputs import draw_noise
from refusals import refused, refuses
from tiny_encoders import MAKERS, SIDE, agree, configure, put_weights, rows_of_both, tiny_models  # noqa: F401
from util import UserError
from util.encoders import models
from util.encoders.named import Named
from util.encoders.tower import drawn

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 20, "cats"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that gives the folder of one of ``MAKERS``, made once, and the model that it was made from."""
    made = {}

    def folder(name):
        if name not in made:
            path = tmp_path_factory.mktemp("models") / name
            path.mkdir()
            parts = drawn(lambda: MAKERS[name](path), len(name))
            for part in parts:
                part.save_pretrained(path)
            made[name] = path, parts[0].eval()
        return made[name]

    return folder


@pytest.fixture
def own(saved, tmp_path):
    """A function that copies one of ``MAKERS`` to a folder of the test's own, to be damaged."""
    return lambda name="clip": shutil.copytree(saved(name)[0], tmp_path / "copy")


def refusal(path, match, **options):
    with refused(match):
        load(path, **options)


def change(file, change):
    """Writes a file of json again, as ``change`` makes it."""
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


def settings(**values):
    """A function that puts values into a folder's config.json, those of a table beside what the table has."""

    def put(about):
        for key, value in values.items():
            about[key] = {**about[key], **value} if isinstance(value, dict) else value

    return lambda folder: change(folder / "config.json", put)


def vectors(given):
    given = given if isinstance(given, torch.Tensor) else given.pooler_output
    return normalize(given, dim=1).numpy()


@torch.no_grad()
def of_the_model_itself(name, folder, model, photographs):
    """Rows of both towers, captions at their whole length."""
    pixels = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")(photographs, return_tensors="pt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(CAPTIONS, padding="max_length", truncation=True, max_length=tinies.CONTEXT, return_tensors="pt")
    texts = model.get_text_features(**given if name != "siglip" else {"input_ids": given["input_ids"]})
    return vectors(model.get_image_features(**pixels)), vectors(texts)


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_those_of_the_model_itself_whatever_the_batch(saved, photographs, name):
    folder, model = saved(name)
    pair, theirs = load(folder), of_the_model_itself(name, folder, model, photographs)
    assert np.ptp(theirs[1], axis=0).max() > 0.05
    for size in (None, 1, 3):
        assert agree(rows_of_both(pair, photographs, CAPTIONS, size), theirs)


def test_captions_of_siglip_have_the_whole_length_and_of_its_second_edition_lower_case(own):
    folder = own("siglip")
    pair = load(folder)
    assert pair.text.prepare(["a cat"]).shape == (1, tinies.CONTEXT)
    assert np.allclose(pair.text.encode(["A cat."]), pair.text.encode(["a cat"]), atol=1e-6)
    for file in (*folder.glob("*token*"), folder / "spiece.model"):
        file.unlink()
    tinies.gemma_tokenizer().save_pretrained(folder)
    pair = load(folder)
    assert pair.settings["tokenizer"] == {"class": "GemmaTokenizer", "lower_case": True}
    rows = pair.text.encode(["A CAT", "a cat", "a dog"])
    assert np.array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2], atol=1e-3)


def test_pictures_have_the_pixels_of_the_released_preprocessing(own, rng):
    from torchvision import transforms

    folder = own()
    file = folder / "preprocessor_config.json"
    about = json.loads(file.read_text())
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
    file.write_text(json.dumps({**about, "do_convert_rgb": False}))
    prepare = load(folder).non_text.prepare
    assert torch.equal(prepare([square.convert("L")]), prepare([square.convert("L").convert("RGB")]))


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_settings_say_how_inputs_are_prepared(saved, name):
    pair = load(saved(name)[0])
    about = pair.settings
    assert about["encoder"] == f"transformers {transformers.__version__}"
    assert (about["dtype"], about["device"], about["context_length"]) == ("float32", "cpu", tinies.CONTEXT)
    assert {"size", "image_mean", "image_std", "resample"} <= set(about["pixels"])
    assert about["pixels"]["image_processor_type"].endswith("ImageProcessorPil")
    assert (pair.name, pair.non_text.name) == (name, name)
    assert draw_noise(pair.non_text, 3, 0).shape == (3, 3, SIDE, SIDE)
    assert draw_noise(pair.text, 3, 0).shape == (3, tinies.CONTEXT)
    assert draw_noise(pair.text, 500, 0).max() == pair.model.config.text_config.vocab_size - 1


def test_nothing_is_said_while_a_model_loads(own, capfd, caplog, recwarn):
    folder = own()
    save_file({**load_file(folder / "model.safetensors"), "odd": torch.zeros(1)}, folder / "model.safetensors")
    transformers.logging.get_logger().addHandler(caplog.handler)
    try:
        load(folder)
        load(folder, 0)
    finally:
        transformers.logging.get_logger().removeHandler(caplog.handler)
    assert (capfd.readouterr(), caplog.text, list(recwarn)) == (("", ""), "", [])


def test_folders_that_are_no_model_or_of_another_kind_are_refused(tmp_path):
    for name in (tmp_path / "absent", "./absent", "a/b/c"):
        refusal(name, f"{name}: no such folder")
    refusal("not a name", "not a name could not be fetched")
    refusal(tmp_path, r"there is no config\.json", seed=0)
    kinds = transformers.BertConfig, transformers.CLIPTextConfig, transformers.Siglip2Config, transformers.Aimv2Config
    for kind in kinds:
        kind().save_pretrained(tmp_path)
        refusal(tmp_path, "its kind, .*, is not read here; known are clip, .*siglip", seed=0)


def half_a_model(folder):
    config = (folder / "config.json").read_text()
    tinies.clip_model(56).vision_model.save_pretrained(folder)
    (folder / "config.json").write_text(config)


def no_tokenizer(folder):
    for file in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("merges*")):
        file.unlink()
    tinies.clip_processor().save_pretrained(folder)


SHAPES = r"^copy: \d+ weights of CLIPModel are not there, or not of its shape"


@pytest.mark.parametrize(
    "damage, said",
    [
        (settings(text_config={"vocab_size": 90}), SHAPES),
        (half_a_model, SHAPES),
        (settings(attn_implementation="someone/kernels"), "could not load it"),
        (settings(text_config={"eos_token_id": 5}), "gives all captions one embedding: eos_token_id of config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "could not load it"),
        (no_tokenizer, "there is no tokenizer"),
    ],
)
def test_a_folder_with_a_wrong_part_or_without_one_is_refused(own, damage, said):
    folder = own()
    damage(folder)
    refusal(folder, said)


# The end token of released models is 2 there, and is read at the largest number.
@pytest.mark.parametrize("about", [{"transformers_weights": "adapter_model.bin"}, {"text_config": {"eos_token_id": 2}}])
def test_a_configuration_chooses_no_weights_and_may_have_the_end_token_of_released_models(own, about):
    folder = own()
    settings(**about)(folder)
    assert load(folder).text.encode(["a cat"]).shape == (1, 24)


def test_pickled_weights_are_never_read(own, monkeypatch):
    opened = []
    monkeypatch.setattr(torch, "load", lambda *args, **options: opened.append(args))
    folder = own()
    weights = load(folder).model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "pytorch_model.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal(folder, r"no weights in model\.safetensors; pickled ones, and those in several files, are not read")
    assert not opened


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_code_beside_a_model_is_never_run_nor_asked_about(own, theirs, tmp_path, file):
    folder = own()
    kinds = ("model_type", "tokenizer_class", "image_processor_type")
    asked = theirs(folder / file, **{key: "theirs" for key in kinds if f'"{key}"' in (folder / file).read_text()})
    try:
        load(folder)
    except UserError as error:
        assert "\n" not in str(error)
    assert not asked and not (tmp_path / "ran").exists()


class Stored(NamedTuple):
    """How options spell a folder and a repository, the files of a model, and two functions that write it."""

    folder: str
    hub: str
    files: tuple[str, ...]
    weights: str
    make: callable
    make_weights: callable

    def load(self, path, seed=None):
        return Named.parse(f"{self.folder}{path}").pair(seed, "cpu")


def of_transformers(folder):
    folder.mkdir()
    for part in MAKERS["clip"](folder):
        part.save_pretrained(folder)


def other_weights(folder):
    torch.manual_seed(9)
    save_file(tinies.clip_model(56).state_dict(), folder / "model.safetensors", metadata={"format": "pt"})


KINDS = {
    "transformers": Stored(
        "huggingface:",
        "huggingface:org/name",
        ("config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"),
        "model.safetensors",
        of_transformers,
        other_weights,
    ),
    "open_clip": Stored(
        "open_clip:local-dir:",
        "open_clip:hf-hub:org/name",
        ("open_clip_config.json",),
        "open_clip_model.safetensors",
        lambda folder: (configure(folder), put_weights(folder, 8)),
        lambda folder: put_weights(folder, 9),
    ),
}
load, of_folder = KINDS["transformers"].load, KINDS["open_clip"].load


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def folder(kind, tmp_path):
    """A tiny CLIP with weights."""
    kind.make(tmp_path / "folder")
    return tmp_path / "folder"


def test_random_weights_depend_on_the_seed_alone_and_need_none_that_are_trained(kind, folder, photographs):
    (folder / kind.weights).unlink()
    tinies.only_the_seed_decides(lambda seed: kind.load(folder, seed).non_text.encode(photographs))
    tinies.only_the_seed_decides(lambda seed: kind.load(folder, seed).text.encode(CAPTIONS))
    pair = kind.load(folder, 3)
    assert (pair.settings["seed"], pair.settings["pretrained"]) == (3, None)
    assert pair.name.endswith("folder random weights, seed 3") and set(pair.settings["files"]) == set(kind.files)


def test_the_settings_are_plain_name_no_place_and_tell_other_weights(kind, folder, photographs):
    with tinies.undisturbed():
        pair = kind.load(folder)
    for about in (pair.settings, dict(pair.non_text.settings), dict(pair.text.settings)):
        assert json.loads(json.dumps(about)) == about and str(folder.parent) not in json.dumps(about)
        assert about["model"].endswith("folder") and about["seed"] is None and about["dim"] == 24
        assert set(about["files"]) == {*kind.files, kind.weights}
    rows = rows_of_both(pair, photographs, CAPTIONS)
    kind.make_weights(folder)
    other = kind.load(folder)
    assert other.settings != pair.settings
    assert not np.allclose(rows[0], other.non_text.encode(photographs), atol=0.05)


def test_a_repository_in_the_cache_is_found_without_a_network(kind, folder, hub, photographs):
    snapshot = hub(folder)
    pair = Named.parse(kind.hub).pair(device="cpu")
    assert pair.settings["revision"] == snapshot.name and pair.settings["model"].endswith("org/name")
    assert np.array_equal(pair.non_text.encode(photographs), kind.load(folder).non_text.encode(photographs))
    (snapshot / kind.weights).unlink()
    assert Named.parse(kind.hub).pair(0, "cpu").text.encode(CAPTIONS).shape == (5, 24), "random weights need none"
    with refused("org/name: (there are )?no weights in "):
        Named.parse(kind.hub).pair(device="cpu")


@pytest.mark.parametrize("seed", [None, 0])
def test_a_model_that_cannot_be_fetched_is_one_line_soon(kind, caplog, capfd, seed):
    missing = "org/name could not be fetched .no connection to http://127.0.0.1:9, and not whole in its cache.*HF_HOME"
    with refused(missing):
        Named.parse(kind.hub).pair(seed, "cpu")
    assert caplog.text == capfd.readouterr().err == ""


def test_only_what_is_read_is_asked_of_the_hub(kind, folder, hub, monkeypatch):
    import huggingface_hub

    snapshot, asked, own = hub(folder), set(), (*kind.files, "vocab.json", "spiece.model", kind.weights)
    others = {"pytorch_model.bin", "modeling.py", "onnx/config.json", "1.safetensors", "open_clip_pytorch_model.bin"}

    def snapshot_download(name, **patterns):
        asked.update(huggingface_hub.utils.filter_repo_objects([*own, *others], **patterns))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    Named.parse(kind.hub).pair(0, "cpu")
    assert asked >= set(kind.files) and not asked & {*others, kind.weights}
    Named.parse(kind.hub).pair(None, "cpu")
    assert kind.weights in asked and not asked & others


@pytest.mark.parametrize("damage", ["none", "cut off", "another model"])
def test_weights_that_are_damaged_or_do_not_fit_are_refused(kind, folder, damage):
    file, match = folder / kind.weights, "could not load it|not there, or not of its shape"
    if damage == "none":
        file.unlink()
        match = f"no weights in {kind.weights}"
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-4])
    else:
        save_file({"something": torch.zeros(3)}, file, metadata={"format": "pt"})
    with refused(f"folder.*: .*({match})"):
        kind.load(folder)


@pytest.fixture(scope="module")
def tiny():
    return Named.parse("tiny").pair(0, "cpu")


@pytest.fixture
def medical(tmp_path):
    """As BiomedCLIP's repository: a network of timm beside a BERT of transformers, which has a folder of its own."""
    path, bert = tmp_path / "medical", tmp_path / "bert"
    config = transformers.BertConfig(vocab_size=57, max_position_embeddings=16, pad_token_id=0, **tinies.STARK)
    config.save_pretrained(bert)
    vision = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(path), "hf_proj_type": "mlp", "context_length": 16}
    text["hf_pooler_type"] = "cls_last_hidden_state_pooler"
    configure(path, vision_cfg={**vision, "image_size": 160}, text_cfg=text)
    tinies.bert_tokenizer().save_pretrained(path)
    put_weights(path, 8)
    return path


def test_pixels_are_normalised_as_asked_and_the_description_says_how(tiny, photographs):
    theirs = Named("open_clip", "tiny", None, "imagenet").pair(0, "cpu")
    torchvisions = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    pixels, about = theirs.settings["pixels"], tiny.settings
    assert (about["device"], about["dtype"], about["quick_gelu"]) == ("cpu", "float32", False)
    assert about["pixels"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    assert (pixels["mean"], pixels["std"]) == (torchvisions.mean, torchvisions.std)
    assert not torch.allclose(tiny.non_text.prepare(photographs), theirs.non_text.prepare(photographs), atol=0.01)


def test_the_activation_is_the_one_that_the_weights_were_trained_with(tiny, monkeypatch):
    def activations(network):
        blocks = network.transformer.resblocks[0], network.visual.transformer.resblocks[0]
        return {type(block.mlp[1]).__name__ for block in blocks}

    assert activations(tiny.model) == {"GELU"}
    assert activations(Named.parse("tiny-quickgelu").pair(0, "cpu").model) == {"QuickGELU"}
    built, _ = models._open_clip_network(models._origin("tiny", None), 0, True, "own")
    assert activations(built) == {"QuickGELU"}
    asked = []
    monkeypatch.setattr(models, "_open_clip_network", lambda *a: asked.append(a[2]) or 1 / 0)
    for tag, seed in itertools.product(("openai", "laion2b_s34b_b79k"), (None, 0)):
        with refused("open_clip could not load it|could not be fetched"):
            Named.parse(f"ViT-B-32:{tag}").pair(seed, "cpu")
    assert asked == [True, True, False, False]


def test_a_checkpoint_file_gives_its_own_weights(tiny, photographs, tmp_path):
    path = tmp_path / "weights.safetensors"
    trained = Named.parse("tiny").pair(8, "cpu")
    save_file(trained.model.state_dict(), path)
    loaded = Named.parse(f"tiny:{path}").pair(None, "cpu")
    assert np.array_equal(loaded.non_text.encode(photographs), trained.non_text.encode(photographs))
    assert not np.allclose(loaded.non_text.encode(photographs), tiny.non_text.encode(photographs), atol=0.1)
    assert loaded.settings["seed"] is None and len(loaded.settings["files"]["weights.safetensors"]) == 64
    path.write_bytes(path.read_bytes()[:-4])
    with refused(r"tiny with weights '.*weights.safetensors': open_clip could not load it \("):
        Named.parse(f"tiny:{path}").pair(None, "cpu")


test_unknown_models_and_tags_name_those_that_there_are = refuses(
    (lambda: Named.parse("ViT-B-31").pair(0), "unknown model: 'ViT-B-31'.*ViT-B-32"),
    (lambda: Named.parse("ViT-B/32:opena1").pair(), "tag for ViT-B-32: 'opena1'; close to it: openai"),
    (lambda: Named.parse("tiny:openai").pair(), "tag for tiny: 'openai'"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode([]), "no captions"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode("a cat"), "in a list, not as one string"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode(["a cat"], 0), "batch size"),
)


@torch.no_grad()
def test_a_text_tower_of_transformers_reads_its_own_tokenizer(medical, photographs, hub):
    pair = of_folder(medical)
    tokens = pair.text.prepare(CAPTIONS[:4])
    assert tokens.shape == (4, 16) and (tokens != 0).sum(1).tolist() == [6, 16, 2, 16]
    theirs = pair.model.encode_image(pair.non_text.prepare(photographs)), pair.model.encode_text(tokens)
    rows = rows_of_both(pair, photographs, CAPTIONS[:4])
    assert agree(rows, [normalize(each, dim=1) for each in theirs], atol=2e-6)
    assert np.ptp(rows[1], axis=0).max() > 0.02
    hub(medical)
    twin = Named.parse("hf-hub:org/name").pair(None, "cpu")
    assert np.array_equal(twin.text.encode(CAPTIONS[:4]), rows[1])
    assert pair.settings["text_tower"] == twin.settings["text_tower"]


def test_the_settings_tell_another_vocabulary(medical):
    before = of_folder(medical).settings["text_tower"]
    tokenizer = tinies.bert_tokenizer()
    for file in medical.glob("*token*"):
        file.unlink()
    words = {token: number for number, token in enumerate(sorted(tokenizer.get_vocab(), reverse=True))}
    type(tokenizer)(words, model_max_length=16).save_pretrained(medical)
    assert of_folder(medical).settings["text_tower"] != before
    assert len(before) == 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "theirs"}, "it needs code that comes with it, which is not run; choose another"),
        ({"model_type": "encoder-decoder"}, ""),
        ({"attn_implementation": "someone/kernels"}, "open_clip could not load it"),
    ],
)
def test_code_of_a_text_tower_is_neither_run_nor_asked_about(medical, theirs, tmp_path, changes, said):
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    asked = theirs(tmp_path / "bert" / "config.json", **changes)
    for seed in (None, 0):
        with refused(f"medical.*: {said}"):
            of_folder(medical, seed)
    assert not asked and not (tmp_path / "ran").exists()
    assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == before > 0


def test_a_configuration_cannot_say_that_code_of_its_tokenizer_may_run(medical, theirs, tmp_path):
    file = medical / "open_clip_config.json"
    about = json.loads(file.read_text())
    about["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    file.write_text(json.dumps(about))
    asked = theirs(medical / "tokenizer_config.json", tokenizer_class="theirs")
    try:
        of_folder(medical)
    except UserError as error:
        assert "\n" not in str(error)
    assert not asked and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["open_clip"], indirect=True)
def test_pickled_weights_are_read_as_weights_only_and_after_safetensors(folder, photographs, tmp_path):
    rows = of_folder(folder).non_text.encode(photographs)
    pickled = folder / "open_clip_pytorch_model.bin"
    torch.save(of_folder(folder, 9).model.state_dict(), pickled)
    assert np.array_equal(of_folder(folder).non_text.encode(photographs), rows)
    (folder / "open_clip_model.safetensors").unlink()
    assert not np.allclose(of_folder(folder).non_text.encode(photographs), rows, atol=0.1)

    class Runs:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    for write in (lambda given: pickled.write_bytes(pickle.dumps(given, protocol=2)), lambda g: torch.save(g, pickled)):
        write({"weight": Runs()})
        with refused("open_clip could not load it"):
            of_folder(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["open_clip"], indirect=True)
def test_folders_without_a_configuration_or_with_a_wrong_one_are_refused(folder, tmp_path):
    file = folder / "open_clip_config.json"
    for content in ("[1", "[1]", None):
        file.unlink() if content is None else file.write_text(content)
        with refused("no open_clip_config.json there with embed_dim, vision_cfg, text_cfg in model_cfg"):
            of_folder(folder)
    configure(tmp_path / "odd", vision_cfg={**tinies.TINY["vision_cfg"], "width": "wide"})
    with refused("open_clip could not load it"):
        of_folder(tmp_path / "odd", 0)
