"""Encoders by name and their towers: torchvision's, open_clip's and your own; what they share and what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import open_clip
import pytest
import torch
import torchvision
from PIL import Image

from encoder_inputs import draw_noise
from refusals import refused
from tiny_encoders import TINY, only_the_seed_decides, tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError, cli
from util.encoders import models
from util.encoders import tower as towers
from util.encoders.named import ModelName, Named
from util.files import sha256

CAPTIONS = ["a cat", "", "two dogs on a bench beside a very long fence and a car", "x " * 500, "a man", "a red bus"]


@pytest.fixture(scope="module")
def clip():
    return Named.parse("tiny").pair(3, "cpu")


def unit(rows):
    return torch.nn.functional.normalize(rows.float(), dim=1).numpy()


def test_images_are_read_one_batch_at_a_time(clip, photographs):
    taken, most = [], []

    def watched(images):
        most.append(len(taken))
        return clip.non_text.prepare(images)

    images = (taken.append(image) or image for image in photographs)
    replace(clip.non_text, prepare=watched).encode(images, 2)
    assert most == [2, 4, 6, 7]


@torch.inference_mode()
def test_captions_and_noise_are_read_at_their_true_length_with_the_full_length_embeddings(clip, monkeypatch):
    tokens, noise = clip.text.prepare(CAPTIONS), draw_noise(clip.text, 4, 0)
    full = unit(clip.model.encode_text(tokens))
    assert clip.text.lengths(tokens).tolist() == [4, 2, 15, 77, 4, 5]
    assert np.ptp(full, axis=0).max() > 0.05
    assert np.allclose(clip.text.encode(noise), unit(clip.model.encode_text(noise)), atol=2e-6)
    assert noise.shape == (4, 77) and noise.min() >= 0 and noise.max() < 49408
    assert np.allclose(clip.text.encode(CAPTIONS[::-1])[::-1], full, atol=2e-6)
    pixels = draw_noise(clip.non_text, 3, 1)
    for size in (None, 1, 2):
        assert np.allclose(clip.non_text.encode(pixels, size), unit(clip.model.encode_image(pixels)), atol=2e-6)
    seen, transformer = [], clip.model.transformer.forward
    watched = lambda x, **options: (seen.append(tuple(x.shape[:2])), transformer(x, **options))[1]  # noqa: E731
    monkeypatch.setattr(clip.model.transformer, "forward", watched)
    assert np.allclose(clip.text.encode(CAPTIONS, batch_size=2), full, atol=2e-6)
    assert seen == [(2, 77), (2, 5), (2, 4)], "tokens after the longest caption are never computed"
    monkeypatch.setattr(towers, "CPU_TOKENS", 30)
    seen.clear()
    assert np.allclose(clip.text.encode(CAPTIONS), full, atol=2e-6)
    assert seen == [(1, 77), (2, 15), (3, 4)], "captions go together by length up to a number of tokens"


def test_towers_that_are_not_causal_are_left_at_full_length():
    model = open_clip.model.CLIP(**{**TINY, "text_cfg": {**TINY["text_cfg"], "no_causal_mask": True}})
    tokenizer = open_clip.get_tokenizer("tiny")
    assert "lengths" not in models.text_fields(model, tokenizer)
    assert "lengths" in models.text_fields(open_clip.model.CLIP(**TINY), tokenizer)


def test_bfloat16_agrees_with_float32_to_a_cosine_above_0_9999(clip):
    half = Named.parse("tiny").pair(3, "cpu", "bfloat16")
    assert (half.settings["dtype"], half.non_text.width) == ("bfloat16", 24)
    pixels, captions = draw_noise(clip.non_text, 2, 0), CAPTIONS[:3]
    for one, other in (
        (clip.non_text.encode(pixels), half.non_text.encode(pixels)),
        (clip.text.encode(captions), half.text.encode(captions)),
    ):
        cosines = (one * other).sum(1)
        assert cosines.min() > 0.9999
        assert cosines.max() < 1 - 1e-7, "bfloat16 was not used"


def test_auto_takes_bfloat16_on_a_gpu_that_computes_in_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for computes, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, found=computes: found)
        assert towers.computing("auto", "auto") == (torch.device("cuda"), dtype)
        assert towers.computing("cpu", "auto") == (torch.device("cpu"), torch.float32)


def residual(name, seed=None):
    return Named.parse(f"torchvision:{name}").load(seed, "cpu")[0]


def test_a_resnet_tower_gives_the_pooled_activations_of_torchvisions_network():
    tower = residual("resnet18", 2)
    pixels = draw_noise(tower, 2, 0)
    only_the_seed_decides(lambda seed: residual("resnet18", seed).encode(pixels))
    torch.manual_seed(2)
    network = torchvision.models.resnet18().eval()
    network.fc = torch.nn.Identity()
    assert all(m.running_var.eq(1).all() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.inference_mode():
        assert np.allclose(tower.encode(pixels), unit(network(pixels)), atol=1e-6)
    assert tower.width == 512
    assert tower.settings["pixels"]["mean"] == [0.485, 0.456, 0.406]


def test_folding_batch_normalisation_keeps_a_trained_networks_function():
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
        norm.bias.data.normal_(std=0.1)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(pixels)
        after = models.fused(network)(pixels)
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-4 * before.abs().max())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_resnets_and_weights_that_are_unknown_or_cannot_be_fetched_are_one_line(tmp_path, monkeypatch):
    with refused(r"unknown ResNet: 'resnet19'; close to it: .*resnet18"):
        residual("resnet19")
    with refused(r"unknown weights of resnet18, and no checkpoint file: 'openai'; close to it: .*IMAGENET1K_V1"):
        residual("resnet18:openai")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route")))
    with refused(r"IMAGENET1K_V1 could not be loaded .*no route.*TORCH_HOME"):
        residual("resnet18:IMAGENET1K_V1")


def test_weights_of_timm_and_of_a_checkpoint_file_give_timms_pooled_activations(tmp_path, monkeypatch):
    import timm

    torch.manual_seed(3)
    network = timm.create_model("resnet18").eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "18.pth.tar")
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained: {("resnet18.a1_in1k", True): network}[name, pretrained]
    )
    for pretrained in ("a1_in1k", str(tmp_path / "18.pth.tar")):
        tower = residual(f"resnet18:{pretrained}")
        pixels = draw_noise(tower, 2, 0)
        with torch.inference_mode():
            pooled = network.forward_head(network.forward_features(pixels), pre_logits=True)
        assert np.allclose(tower.encode(pixels), unit(pooled), atol=1e-6) and tower.settings["pretrained"] == pretrained
    with refused("a1_in1k could not be loaded .*HF_HOME"):
        residual("resnet34:a1_in1k")


def test_the_first_noise_inputs_are_those_that_fewer_would_give(clip):
    for tower in (clip.non_text, clip.text):
        assert torch.equal(draw_noise(tower, 5, 3)[:2], draw_noise(tower, 2, 3))
        assert not torch.equal(draw_noise(tower, 2, 3), draw_noise(tower, 2, 4))
    pixels = draw_noise(clip.non_text, 32, 0)
    assert pixels.shape == (32, 3, 32, 32)
    assert abs(float(pixels.mean())) < 0.01 and abs(float(pixels.std()) - 1) < 0.01


def test_embeddings_that_are_not_finite_or_zero_are_refused(clip):
    for value in (float("nan"), 0.0):
        broken = replace(clip.non_text, forward=lambda pixels, value=value: torch.full((len(pixels), 24), value))
        with pytest.raises(UserError, match="embedding of image 0 is zero or not finite"):
            broken.encode(draw_noise(clip.non_text, 2, 0))


@pytest.mark.parametrize(
    ("modality", "frames", "batches"), [("image", 1, [16, 4]), ("video", 8, [2] * 10), ("video", 32, [1] * 20)]
)
def test_a_video_counts_as_its_frames_in_a_batch(clip, modality, frames, batches):
    seen, about = [], {"name": "stand-in", "modality": modality, "width": 2, "frames": frames}
    work = {"prepare": torch.tensor, "forward": lambda rows: (seen.append(len(rows)), rows)[1]}
    tower = replace(clip.non_text, **about, **work)
    items = [[1.0, float(i)] for i in range(20)]
    rows = tower.encode(items)
    assert seen == batches
    assert np.allclose(rows, unit(torch.tensor(items)), atol=1e-6)
    assert np.array_equal(tower.encode(torch.tensor(items)), rows) and seen == batches * 2
    with pytest.raises(UserError, match=f"stand-in: there are no {modality}s to encode"):
        tower.encode([])


OWN = """
import numpy as np
import torch

SIZES = []

def towers():
    return (lambda images: np.array([[i.width, i.height, 1.0] for i in images])), None

def broken():
    return (lambda images: np.zeros(3)), None

def alone():
    return 5

def words():
    return None, lambda texts: np.ones((len(texts), len(texts)))

def nothing():
    return None, None

def helped():
    import beside
    return beside.images, lambda texts: np.array([[len(text), 1.0] for text in texts])

def later():
    return None, (lambda texts: np.array([[len(text), 1.0] for text in texts]))

def counted():
    return None, count

def count(texts):
    SIZES.append(len(texts))
    return torch.tensor([SIZES + [0] * (9 - len(SIZES))] * len(texts)).float()
"""


@pytest.fixture
def own(tmp_path, own_modules):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("open_clip:ViT-B-16:openai", ("open_clip", "ViT-B-16", "openai")),
        ("open_clip:RN50", ("open_clip", "RN50", None)),
        ("ViT-B-32:openai", ("open_clip", "ViT-B-32", "openai")),
        ("local-dir:a/b", ("open_clip", "local-dir:a/b", "own")),
        ("open_clip:hf-hub:org/name", ("open_clip", "hf-hub:org/name", "own")),
        ("torchvision:resnet50:IMAGENET1K_V2", ("torchvision", "resnet50", "IMAGENET1K_V2")),
        ("huggingface:openai/clip-vit-base-patch32", ("huggingface", "openai/clip-vit-base-patch32", None)),
        ("python:mine.py:towers", ("python", "mine.py", "towers")),
        ("python:package.mine:towers", ("python", "package.mine", "towers")),
        ("mine.py:towers", ("python", "mine.py", "towers")),
        ("python:C:\\a b\\mine.py:towers", ("python", "C:\\a b\\mine.py", "towers")),
        ("open_clip:RN50:/a:b/weights.pt", ("open_clip", "RN50", "/a:b/weights.pt")),
        ("RN50:C:\\weights.pt", ("open_clip", "RN50", "C:\\weights.pt")),
        ("huggingface:C:\\a:b", ("huggingface", "C:\\a:b", None)),
        ("local-dir:/a:b", ("open_clip", "local-dir:/a:b", "own")),
        ("small-clip", ("small-clip", "small CLIP", None)),
    ],
)
def test_a_name_is_kind_name_and_tag_and_its_whole_spelling_says_the_same(text, parts):
    named = Named.parse(text)
    assert (named.kind, named.name, named.tag) == parts
    assert Named.parse(str(named)) == named and str(named).startswith(parts[0])


def test_a_spelling_has_its_kind_and_whole_paths_wherever_it_was_written(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    for text in ("mine.py:towers", "python:mine.py:towers", f"python:{own}:towers"):
        assert str(Named.parse(text)) == f"python:{own}:towers"
    assert str(Named.parse("RN50:mine.py")) == f"open_clip:RN50:{own}"
    assert str(Named.parse("hf-hub:a/b")) == "open_clip:hf-hub:a/b"
    assert str(Named.parse("local-dir:.")) == f"open_clip:local-dir:{own.parent}"
    for text in ("python:package:towers", "open_clip:RN50:openai"):  # a folder of that name is neither of them
        (own.parent / text.split(":")[1 if "python" in text else 2]).mkdir()
        assert str(Named.parse(text)) == text


@dataclass(frozen=True, kw_only=True)
class OneModel(cli.Common):
    model: ModelName | None = None
    models: tuple[ModelName, ...] = ()


def test_options_hold_the_whole_spelling(tmp_path):
    presets = {"embedded": OneModel(output=tmp_path)}
    read = cli.parse(presets, "", ["--model", "RN50:openai", "--models", "small-clip", "mine.py:towers"])
    assert read.model == "open_clip:RN50:openai" and read.models == ("small-clip", "python:mine.py:towers")
    assert cli.parse(presets, "", ["--model", "huggingface:"]).model == "huggingface:", "refused where it is used"


@pytest.mark.parametrize(
    "text",
    ["open_clip", "open_clip:", "python:mine.py", "python::towers", "huggingface:", "", "ViT-B-32:", "small-clip:a"],
)
def test_other_names_are_refused_with_the_ways_to_write_one(text):
    with pytest.raises(UserError, match=r"unknown encoder .*open_clip:MODEL.*python:MODULE or FILE.py:FUNCTION"):
        Named.parse(text)


def test_functions_of_your_own_become_towers_that_call_them_batch_by_batch(own):
    (tower,) = Named.parse(f"python:{own}:towers").load()
    assert (tower.modality, tower.width) == ("image", 3)
    rows = tower.encode([Image.new("RGB", (3, 4)), Image.new("RGB", (30, 40))], batch_size=1)
    assert np.allclose(rows[0], np.array([3, 4, 1]) / np.sqrt(26))
    assert rows.dtype == np.float32
    (tower,) = Named.parse(f"python:{own}:counted").load()
    sizes = tower.encode(["a", "bb", "ccc"], batch_size=2)[2]
    assert np.allclose(sizes[:4] / sizes[0], [1, 2, 1, 0])  # the first is the trial at construction


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("python:{}:broken", r"1 images gave .*\(3,\), not floats \(1, d\)"),
        ("python:{}:alone", "must give"),
        ("python:{}:absent", "gave no encoders .*absent"),
        ("python:{}:words", r"2 texts gave .*\(2, 2\), not floats \(2, 1\)"),
        ("python:math:towers", "it gave no encoders"),
        ("python:nowhere.at_all:towers", "gave no encoders .*No module named 'nowhere'"),
        ("python:{}:nothing", "must give .*, one of which may be None"),
        ("python:nowhere.py:towers", "gave no encoders .*No such file .*nowhere.py"),
        ("python:{}.txt:towers", "gave no encoders .*SyntaxError"),
        ("python:{}:later", "the text function failed on 2 inputs .*TypeError"),
    ],
)
def test_functions_that_are_no_encoders_are_refused(own, spec, message):
    own.with_suffix(".py.txt").write_text("no Python")
    with pytest.raises(UserError, match=message):
        (tower,) = Named.parse(spec.format(own)).load()
        tower.encode(["a", None])


def test_a_module_is_found_in_the_working_directory_and_what_it_imports_beside_it(own, monkeypatch):
    (own.parent / "beside.py").write_text("images = lambda pictures: __import__('numpy').ones((len(pictures), 2))")
    (own.parent / "package_of_one").mkdir()
    own.rename(own.parent / "package_of_one" / "mine.py")
    monkeypatch.chdir(own.parent)
    named = Named.parse("python:package_of_one.mine:helped")
    pair = named.pair()
    assert pair.name == "package_of_one.mine" and not pair.kept
    assert pair.settings["sha256"] == sha256(own.parent / "package_of_one" / "mine.py")
    assert pair.text.encode(["a", "bb"]) == pytest.approx(np.array([[1, 1], [2, 1]]) / np.sqrt([[2], [5]]))


def test_a_pair_has_both_towers_in_one_space(own):
    with pytest.raises(UserError, match="counted: a tower of images and one of texts are needed"):
        Named.parse(f"python:{own}:counted").pair()
    with pytest.raises(UserError, match="one alone"):
        Named.parse("torchvision:resnet18").pair(seed=0)
    (own.parent / "beside.py").write_text("images = lambda pictures: __import__('numpy').ones((len(pictures), 3))")
    with pytest.raises(UserError, match="embedding is of 3 numbers, a text of 2; a gap needs one space"):
        Named.parse(f"python:{own}:helped").pair()


def test_your_own_functions_have_no_random_twin_and_open_clip_needs_a_tag(own):
    with pytest.raises(UserError, match="no random twin"):
        Named.parse(f"python:{own}:towers").load(seed=0)
    with pytest.raises(UserError, match="say which trained weights"):
        Named.parse("open_clip:ViT-B-32").load()
