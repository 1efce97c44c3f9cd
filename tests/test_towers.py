"""Towers: the same embeddings however batches are cut, in either precision, without work on unread tokens."""

from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import torchvision

from encoder_checks import only_the_seed_decides, refused
from encoder_inputs import draw_noise
from tiny_open_clip import TINY, tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError
from util.encoders import models
from util.encoders import tower as towers
from util.encoders.named import Named

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
