"""CLIP's byte pairs with a padding that no token is, and what X-CLIP, ConVIRT and CLASP with random weights share."""

import json

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import tiny_systems
from systems import clasp, convirt, untrained, x_clip
from util import UserError

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "", "Two DOGS on a bench!", "x " * 50]
PICTURES = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (40, 50, 3), dtype=np.uint8)) for k in range(9)]
SYSTEMS = {
    "x_clip": (
        lambda **how: x_clip.load(random=True, config=tiny_systems.x_clip_config(), **how),
        [PICTURES[:3], PICTURES[3:6], PICTURES[6:]],
        {"modality": "video", "frames": 3, "model": x_clip.NAME, "dim": 24},
        ((3, 3, 32, 32), (77,)),
    ),
    "convirt": (
        lambda **how: convirt.load(sizes=tiny_systems.CONVIRT, **how),
        PICTURES,
        {"modality": "image", "dtype_image": "float32", "model": "ConVIRT", "dim": 24},
        ((3, 224, 224), (16,)),
    ),
    "clasp": (
        lambda **how: clasp.load(sizes=tiny_systems.CLASP, **how),
        ["MKV", "ACDEFGHIKLMNPQRSTVWY" * 3, "WWWWWW"],
        {"modality": "amino acid", "alphabet": clasp.ALPHABET, "model": "CLASP", "dim": 16},
        ((20,), (32,)),
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_random_weights_depend_on_the_seed_alone_and_disturb_nothing(system):
    load, items, *_ = SYSTEMS[system]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = load(seed=3, device="cpu")
    assert torch.equal(torch.rand(3), expected) and first.name.endswith("random weights, seed 3")
    again, other = load(seed=3, device="cpu"), load(seed=4, device="cpu")
    for name, given in (("encode_non_text", items), ("encode_texts", CAPTIONS)):
        rows = getattr(first, name)(given)
        assert np.array_equal(getattr(again, name)(given), rows)
        assert not np.allclose(getattr(other, name)(given), rows, atol=0.1)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_description_is_plain_and_bfloat16_changes_little(system):
    load, items, expected, _ = SYSTEMS[system]
    exact, coarse = (load(device="cpu", precision=precision) for precision in ("float32", "bfloat16"))
    about = {**exact.describe(), "modality": exact.non_text.modality}
    assert json.loads(json.dumps(about)) == about
    assert (expected | {"seed": 0, "pretrained": None, "dtype": "float32"}).items() <= about.items()
    assert coarse.settings["dtype"] == "bfloat16" and exact.text.weights == "random"
    images, texts = ((getattr(exact, n)(g) * getattr(coarse, n)(g)).sum(1) for n, g in (
        ("encode_non_text", items), ("encode_texts", CAPTIONS)))  # fmt: skip
    assert texts.min() > 0.999 and texts.max() < 1 - 1e-7
    assert images.min() > (1 - 1e-6 if system == "convirt" else 0.999)


@pytest.mark.parametrize("system", SYSTEMS)
def test_neither_batches_nor_their_order_change_a_row(system):
    load, items, *_ = SYSTEMS[system]
    pair = load(device="cpu")
    for encode, given in ((pair.encode_non_text, items), (pair.encode_texts, CAPTIONS)):
        whole = encode(given)
        for size in (1, 2, 64):
            assert np.allclose(encode(given[::-1], size)[::-1], whole, atol=2e-6)


@pytest.mark.parametrize("system", SYSTEMS)
def test_padding_after_the_longest_row_is_never_computed(system):
    pair = SYSTEMS[system][0](device="cpu")
    for tower, short, long in ((pair.text, "a", "a " * 50), (pair.non_text, "M", "M" * 50)):
        if tower.lengths is not None:
            counts = []
            for words in (short, long):
                with FlopCounterMode(display=False) as counter, torch.no_grad():
                    tower.forward(tower.prepare([words]))
                counts.append(counter.get_total_flops())
            assert counts[0] < counts[1] / 2


@pytest.mark.parametrize("system", SYSTEMS)
def test_noise_is_of_whole_inputs_and_goes_through_both_towers(system):
    load, _, _, shapes = SYSTEMS[system]
    pair = load(device="cpu")
    for tower, shape in zip((pair.non_text, pair.text), shapes, strict=True):
        noise = tower.noise(3, 0)
        assert noise.shape == (3, *shape) and torch.equal(noise[:2], tower.noise(2, 0))
        assert np.allclose(np.linalg.norm(tower.encode(noise), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("system", SYSTEMS)
def test_unknown_devices_and_precisions_are_refused(system):
    for how, said in (({"device": "tpu"}, "unknown device 'tpu'"), ({"precision": "float8"}, "precision 'float8'")):
        with pytest.raises(UserError, match=said):
            SYSTEMS[system][0](**how)


def test_tokens_are_those_of_open_clip_and_padding_is_none_of_them():
    theirs = SimpleTokenizer(context_length=12)(CAPTIONS)
    ours = untrained.tokens(CAPTIONS, 12, ends=True)
    assert torch.equal(ours.clamp(min=0), theirs)
    assert untrained.lengths(ours).tolist() == [4, 2, 8, 12]
    assert (ours < untrained.VOCABULARY).all() and int(ours.min()) == untrained.PADDING
    assert ours[3, -1] == theirs.max(), "the end token is kept where a caption is cut"


def test_without_ends_there_are_words_alone():
    assert untrained.tokens(["a cat"], 4, ends=False).tolist() == [[320, 2368, -1, -1]]
    assert untrained.tokens(["x " * 50], 4, ends=False).min() > 0
    released = [8088, 682, 533]  # how CLASP's own notebook prints the beginning of this text
    assert untrained.tokens(["protein that is present in the blood"], 3, ends=False).tolist() == [released]


def test_a_token_with_the_number_0_is_no_padding():
    padded = untrained.padded([[5, 0], []], 3)
    assert padded.tolist() == [[5, 0, -1], [-1, -1, -1]]
    assert untrained.lengths(padded).tolist() == [2, 1]


def test_a_batch_is_cut_at_its_longest_row():
    tokens, real = untrained.cut(untrained.padded([[5, 0], [7]], 9))
    assert tokens.tolist() == [[5, 0], [7, 0]]
    assert real.tolist() == [[True, True], [True, False]]
