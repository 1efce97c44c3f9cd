"""Towers: the same embeddings however batches are cut, whatever the seed's surroundings, in either precision."""

from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import torchvision

from encoder_checks import only_the_seed_decides
from tiny_open_clip import TINY, tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError
from util.encoders import open_clip_pair, resnet, unread_tokens
from util.encoders import tower as towers
from util.encoders.unread_tokens import ClassTokenBlock, for_class_token

CAPTIONS = ["a cat", "", "two dogs on a bench beside a very long fence and a car", "x " * 500, "a man", "a red bus"]


@pytest.fixture(scope="module")
def clip():
    return open_clip_pair.load("tiny", seed=3, device="cpu")


def unit(rows):
    return torch.nn.functional.normalize(rows.float(), dim=1).numpy()


def test_captions_at_their_true_length_give_the_full_length_embeddings(clip):
    tokens = clip.text.prepare(CAPTIONS)
    assert clip.text.lengths(tokens).tolist() == [4, 2, 15, 77, 4, 5]
    with torch.inference_mode():
        full = unit(clip.model.encode_text(tokens))
        short = unit(clip.text.forward(tokens[:3]))
    assert np.allclose(clip.text.encode(CAPTIONS), full, atol=2e-6)
    assert np.allclose(short, full[:3], atol=2e-6)
    assert np.ptp(full, axis=0).max() > 0.05


def test_tokens_after_the_longest_caption_are_never_computed(clip, monkeypatch):
    seen, transformer = [], clip.model.transformer.forward

    def watched(x, **options):
        seen.append(x.shape[1])
        return transformer(x, **options)

    monkeypatch.setattr(clip.model.transformer, "forward", watched)
    clip.text.encode(CAPTIONS, batch_size=2)
    assert seen == [77, 5, 4]


def test_noise_is_pooled_where_the_largest_token_stands(clip):
    tokens = clip.text.noise(4, 0)
    with torch.inference_mode():
        assert np.allclose(clip.text.encode(tokens), unit(clip.model.encode_text(tokens)), atol=2e-6)
    assert tokens.shape == (4, 77)
    assert tokens.min() >= 0 and tokens.max() < 49408


def test_an_end_token_that_is_not_the_largest_number_is_found_by_its_own():
    text = torch.nn.Module()
    text.text_pool_type, text.text_eos_id = "eos", 2
    assert unread_tokens.lengths(text)(torch.tensor([[1, 9, 2, 0], [1, 2, 2, 2]])).tolist() == [3, 2]


def test_towers_that_are_not_causal_are_left_at_full_length():
    model = open_clip.model.CLIP(**{**TINY, "text_cfg": {**TINY["text_cfg"], "no_causal_mask": True}})
    assert unread_tokens.text_parts(model) is None
    assert unread_tokens.text_parts(open_clip.model.CLIP(**TINY)) is not None


def test_the_last_block_for_the_class_token_alone_changes_nothing(clip):
    pixels = clip.non_text.noise(3, 1)
    with torch.inference_mode():
        assert np.allclose(clip.non_text.encode(pixels), unit(clip.model.encode_image(pixels)), atol=2e-6)
    blocks = clip.model.visual.transformer.resblocks
    assert not any(isinstance(block, ClassTokenBlock) for block in blocks)
    assert isinstance(for_class_token(clip.model.visual).transformer.resblocks[-1], ClassTokenBlock)


@pytest.mark.parametrize("change", [{"pool_type": "avg"}, {"attentional_pool": True}])
def test_towers_that_read_every_token_are_left_alone(change):
    visual = open_clip.model.CLIP(**{**TINY, "vision_cfg": {**TINY["vision_cfg"], **change}}).visual
    assert for_class_token(visual) is visual


def test_bfloat16_agrees_with_float32_to_a_cosine_above_0_9999(clip):
    half = open_clip_pair.load("tiny", seed=3, device="cpu", precision="bfloat16")
    assert (half.settings["dtype"], half.non_text.width) == ("bfloat16", 24)
    pixels, captions = clip.non_text.noise(2, 0), CAPTIONS[:3]
    for one, other in (
        (clip.non_text.encode(pixels), half.non_text.encode(pixels)),
        (clip.text.encode(captions), half.text.encode(captions)),
    ):
        cosines = (one * other).sum(1)
        assert cosines.min() > 0.9999
        assert cosines.max() < 1 - 1e-7, "bfloat16 was not used"


def test_auto_takes_bfloat16_where_the_hardware_computes_in_it(monkeypatch, tmp_path):
    for computes, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(towers, "computes_in_bfloat16", lambda device, computes=computes: computes)
        assert towers.resolve_precision("auto", torch.device("cpu")) is dtype
    with pytest.raises(UserError, match="unknown precision 'half'; choose from float32"):
        towers.resolve_precision("half", torch.device("cpu"))


@pytest.mark.parametrize(
    ("flags", "computes"), [("fma avx2 avx512f", False), ("avx512_bf16 fma", True), ("amx_tile amx_bf16", True)]
)
def test_the_hardware_is_known_by_the_features_that_linux_lists(monkeypatch, tmp_path, flags, computes):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags} sse2\n")
    monkeypatch.setattr(towers, "Path", lambda name: tmp_path / "cpuinfo")
    towers.computes_in_bfloat16.cache_clear()
    assert towers.computes_in_bfloat16("cpu") is computes
    towers.computes_in_bfloat16.cache_clear()


def test_captions_go_together_by_length_up_to_a_number_of_tokens(clip, monkeypatch):
    monkeypatch.setattr(towers, "CPU_TOKENS", 30)
    seen, forward = [], clip.text.forward
    watched = replace(clip.text, forward=lambda tokens: (seen.append(len(tokens)), forward(tokens))[1])
    watched.encode(CAPTIONS)
    assert seen == [1, 2, 3]  # of 77; 15 and 5; 4, 4 and 2 tokens


def test_batches_and_their_order_change_nothing_but_rounding(clip, photographs):
    whole = clip.text.encode(CAPTIONS)
    assert np.allclose(clip.text.encode(CAPTIONS, 4), whole, atol=2e-6)
    assert np.allclose(clip.text.encode(CAPTIONS[::-1])[::-1], whole, atol=2e-6)
    images = clip.non_text.encode(photographs[:3])
    assert np.allclose(clip.non_text.encode(clip.non_text.prepare(photographs[:3]), 2), images, atol=2e-6)


def test_a_resnet_tower_gives_the_pooled_activations_of_torchvisions_network():
    tower = resnet.load(seed=2, device="cpu")
    pixels = tower.noise(2, 0)
    only_the_seed_decides(lambda seed: resnet.load(seed=seed, device="cpu").encode(pixels))
    torch.manual_seed(2)
    network = torchvision.models.resnet18().eval()
    network.fc = torch.nn.Identity()
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        assert norm.running_var.eq(1).all()
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
        after = resnet.fused(network)(pixels)
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-4 * before.abs().max())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_unknown_resnets_and_weights_are_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown ResNet 'resnet19'; choose from resnet101, .*resnet18"):
        resnet.load("resnet19")
    with pytest.raises(UserError, match=r"unknown weights 'openai' of resnet18; choose from IMAGENET1K_V1"):
        resnet.load("resnet18", "openai")


def test_resnet_weights_that_cannot_be_fetched_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(
        UserError, match=r"IMAGENET1K_V1 could not be fetched from https.*no route.*TORCH_HOME"
    ) as caught:
        resnet.load("resnet18", "IMAGENET1K_V1", device="cpu")
    assert "\n" not in str(caught.value)


def test_the_first_noise_inputs_are_those_that_fewer_would_give():
    for noise in (towers.normal_pixels(8), towers.normal_pixels((4, 6), frames=3), towers.uniform_tokens(100, 7)):
        assert torch.equal(noise(5, 3)[:2], noise(2, 3))
        assert not torch.equal(noise(2, 3), noise(2, 4))
    pixels = towers.normal_pixels(64)(8, 0)
    assert pixels.shape == (8, 3, 64, 64)
    assert towers.normal_pixels((4, 6), frames=3)(5, 1).shape == (5, 3, 3, 4, 6)
    assert abs(float(pixels.mean())) < 0.01
    assert abs(float(pixels.std()) - 1) < 0.01


def test_embeddings_that_are_not_finite_or_zero_are_refused(clip):
    for value in (float("nan"), 0.0):
        broken = replace(clip.non_text, forward=lambda pixels, value=value: torch.full((len(pixels), 24), value))
        with pytest.raises(UserError, match="embedding of image 0 is zero or not finite"):
            broken.encode(clip.non_text.noise(2, 0))


@pytest.mark.parametrize(
    ("modality", "frames", "batches"), [("image", 1, [16, 4]), ("video", 8, [2] * 10), ("video", 32, [1] * 20)]
)
def test_a_video_counts_as_its_frames_in_a_batch(modality, frames, batches):
    seen = []
    tower = towers.Tower(
        name="stand-in",
        weights="random",
        modality=modality,
        width=2,
        prepare=lambda items: torch.tensor(items, dtype=torch.float32),
        forward=lambda rows: (seen.append(len(rows)), rows)[1],
        device=torch.device("cpu"),
        settings={},
        frames=frames,
    )
    items = [[1.0, float(i)] for i in range(20)]
    rows = tower.encode(items)
    assert seen == batches
    assert np.allclose(rows, unit(torch.tensor(items)), atol=1e-6)
    assert np.array_equal(tower.encode(torch.tensor(items)), rows) and seen == batches * 2
    with pytest.raises(UserError, match=f"stand-in: there are no {modality}s to encode"):
        tower.encode([])
