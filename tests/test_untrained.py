"""Systems with random weights: what all share, ConVIRT and X-CLIP against libraries, CLASP against a slow reference."""

import json
import math

import numpy as np
import pytest
import torch
import torchvision
import transformers
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch.nn import functional
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from systems import clasp, convirt, untrained, x_clip
from systems.clasp import residues
from tiny_encoders import CLASP, CONVIRT, FRAMES, SIDE, agree, only_the_seed_decides, rows_of_both, x_clip_config

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 50, "cats"]
PICTURES = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (40, 50, 3), dtype=np.uint8)) for k in range(9)]
SYSTEMS = {
    "x_clip": (
        lambda **how: x_clip.load(config=x_clip_config(), **how),
        [PICTURES[:3], PICTURES[3:6], PICTURES[6:]],
        {"modality": "video", "frames": 3, "model": x_clip.NAME, "dim": 24},
    ),
    "convirt": (
        lambda **how: convirt.load(sizes=CONVIRT, **how),
        PICTURES,
        {"modality": "image", "dtype_image": "float32", "model": "ConVIRT", "dim": 24},
    ),
    "clasp": (
        lambda **how: clasp.load(sizes=CLASP, **how),
        ["MKV", "ACDEFGHIKLMNPQRSTVWY" * 3, "WWWWWW"],
        {"modality": "amino acid", "alphabet": clasp.ALPHABET, "model": "CLASP", "dim": 16},
    ),
}

RESNET_50, BERT_LAYER = 25_557_032 - 2048 * 1000 - 1000, 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 5 * 768
HEADS = sum(width * width + width + width * 512 + 512 for width in (2048, 768))
CLASP_LAYER = 768 * 1536 + 512 * 768 + 768 + 768 * 6144 + 6144 + 3072 * 768 + 768 + 6 * 768


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: transformers.XCLIPModel(transformers.XCLIPConfig()), 196_585_729),
        (lambda: convirt.ConVirt(convirt.Sizes()), RESNET_50 + (49408 + 512 + 4) * 768 + 12 * BERT_LAYER + HEADS),
        (lambda: clasp.Clasp(clasp.Sizes()), 2 * (12 * CLASP_LAYER + 768 + 2 * 768) + (49408 + 23) * 768),
    ],
)
def test_at_full_size_they_have_the_parameters_of_the_released_ones(make, parameters):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in make().parameters()) == parameters


@pytest.mark.parametrize("system", SYSTEMS)
def test_random_weights_depend_on_the_seed_alone_and_disturb_nothing(system):
    load, items, *_ = SYSTEMS[system]
    only_the_seed_decides(lambda seed: load(seed=seed, device="cpu").non_text.encode(items))
    only_the_seed_decides(lambda seed: load(seed=seed, device="cpu").text.encode(CAPTIONS))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_description_is_plain_and_bfloat16_changes_little(system):
    load, items, expected = SYSTEMS[system]
    exact, coarse = (load(device="cpu", precision=precision) for precision in ("float32", "bfloat16"))
    about = {**exact.settings, "modality": exact.non_text.modality}
    assert json.loads(json.dumps(about)) == about
    assert (expected | {"seed": 0, "pretrained": None, "dtype": "float32"}).items() <= about.items()
    assert coarse.settings["dtype"] == "bfloat16"
    assert exact.name.endswith("random weights, seed 0")
    rows = (rows_of_both(pair, items, CAPTIONS) for pair in (exact, coarse))
    images, texts = ((one * other).sum(1) for one, other in zip(*rows, strict=True))
    assert texts.min() > 0.999 and texts.max() < 1 - 1e-7
    assert images.min() > (1 - 1e-6 if system == "convirt" else 0.999)


@pytest.mark.parametrize("system", SYSTEMS)
def test_neither_batches_nor_their_order_change_a_row(system):
    load, items, *_ = SYSTEMS[system]
    pair = load(device="cpu")
    for encode, given in ((pair.non_text.encode, items), (pair.text.encode, CAPTIONS)):
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


def test_tokens_are_those_of_open_clip_and_padding_is_none_of_them():
    captions = ["a cat", "", "Two DOGS on a bench!", "x " * 50]
    theirs = SimpleTokenizer(context_length=12)(captions)
    ours = untrained.tokens(captions, 12, ends=True)
    assert torch.equal(ours.clamp(min=0), theirs)
    assert untrained.lengths(ours).tolist() == [4, 2, 8, 12]
    assert (ours < untrained.VOCABULARY).all() and int(ours.min()) == untrained.PADDING
    assert ours[3, -1] == theirs.max(), "the end token is kept where a caption is cut"


def test_without_ends_there_are_words_alone():
    assert untrained.tokens(["a cat"], 4, ends=False).tolist() == [[320, 2368, -1, -1]]
    assert untrained.tokens(["x " * 50], 4, ends=False).min() > 0
    released = [8088, 682, 533]  # how CLASP's own notebook prints the beginning of this text
    assert untrained.tokens(["protein that is present in the blood"], 3, ends=False).tolist() == [released]


def test_a_token_with_the_number_0_is_no_padding_and_a_batch_is_cut_at_its_longest_row():
    padded = untrained.padded([[5, 0], [7], []], 3)
    assert padded.tolist() == [[5, 0, -1], [7, -1, -1], [-1, -1, -1]]
    assert untrained.lengths(padded).tolist() == [2, 1, 1]
    tokens, real = untrained.cut(padded[:2])
    assert (tokens.tolist(), real.tolist()) == ([[5, 0], [7, 0]], [[True, True], [True, False]])


@pytest.fixture(scope="module")
def medical():
    """ConVIRT. With BERT's usual weights every text has almost the same embedding: its tokens are made larger here."""
    pair = convirt.load(device="cpu", sizes=CONVIRT)
    pair.model.text.embeddings.word_embeddings.weight.mul_(30)
    return pair


@pytest.fixture(scope="module")
def of_videos():
    return x_clip.load(device="cpu", config=x_clip_config())


def test_a_head_is_linear_relu_linear():
    head = convirt.head(2, 1)
    weights = ([[1.0, 0.0], [0.0, 1.0]], [0.0, -3.0], [[2.0, 10.0]], [0.5])
    for parameter, value in zip(head.parameters(), weights, strict=True):
        parameter.data = torch.tensor(value)
    assert head(torch.tensor([[1.0, 2.0], [-1.0, 4.0]])).tolist() == [[2.5], [10.5]]


@torch.no_grad()
def test_texts_of_convirt_are_bert_then_the_maximum_then_the_head(medical):
    rows = []
    for report in CAPTIONS:
        tokens = untrained.tokens([report], CONVIRT.context, ends=True)
        outputs = medical.model.text(input_ids=tokens[tokens >= 0][None]).last_hidden_state
        rows.append(medical.model.text_head(outputs.max(dim=1).values))
    texts = medical.text.encode(CAPTIONS)
    assert (texts.dtype, texts.shape) == (np.float32, (5, CONVIRT.dim))
    assert np.allclose(texts, normalize(torch.cat(rows)), atol=2e-6)
    assert np.ptp(texts, axis=0).max() > 0.02


@torch.no_grad()
def test_images_of_convirt_are_the_pooled_activations_then_the_head(medical, photographs):
    transform = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    pooled = medical.model.image(torch.stack([transform(picture) for picture in photographs[:3]]))
    assert pooled.shape == (3, 512)
    rows = medical.non_text.encode(photographs[:3])
    assert np.allclose(rows, normalize(medical.model.image_head(pooled)), atol=2e-6)


@pytest.fixture
def videos(photographs):
    """Five videos of three pictures."""
    return [photographs[start : start + FRAMES] for start in range(5)]


@torch.no_grad()
def test_rows_of_x_clip_are_those_of_the_model_itself(of_videos, videos):
    assert of_videos.non_text.prepare(videos).shape == (5, FRAMES, 3, SIDE, SIDE)
    assert of_videos.text.prepare(CAPTIONS).shape == (5, 77)
    rows = rows_of_both(of_videos, videos, CAPTIONS)
    images = of_videos.model.get_video_features(of_videos.non_text.prepare(videos))
    texts = of_videos.model.get_text_features(of_videos.text.prepare(CAPTIONS).clamp(min=0))
    assert agree(rows, [normalize(given.pooler_output, dim=1) for given in (images, texts)], 2e-6)
    assert min(np.ptp(part, axis=0).max() for part in rows) > 0.02
    assert of_videos.settings["prompting"].startswith("none")
    assert of_videos.settings != x_clip.load(device="cpu", config=x_clip_config(context=70)).settings


def test_frames_are_prepared_as_x_clips_own(of_videos):
    white = [Image.new("RGB", (64, 48), "white")] * FRAMES
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert np.allclose(of_videos.non_text.prepare([white])[0, 0, :, 5, 5], expected, atol=1e-5)
    assert of_videos.settings["pixels"]["size"] == {"shortest_edge": SIDE}
    grey = [frame.convert("L") for frame in white]
    assert torch.equal(of_videos.non_text.prepare([grey]), of_videos.non_text.prepare([white]))


SEQUENCES = ["MKV", "ACDEFGHIKLMNPQRSTVWY" * 3, "", "WWWWWW", "MKVXMKV"]
TEXTS = ["binds iron", "", "a membrane protein of the inner mitochondrial membrane", "binds"]


@pytest.fixture(scope="module")
def tiny():
    """The scales of the layers are made large, so that every layer matters."""
    pair = clasp.load(device="cpu", sizes=CLASP)
    for layer in (m for m in pair.model.modules() if isinstance(m, clasp.Scaled)):
        layer.scale.fill_(1.0)
    return pair


def reference(transformer, numbers):
    """One input alone, without padding, in float64, as the description reads."""
    double = {name: value.double() for name, value in transformer.state_dict().items()}

    def angles(position, of):
        return torch.tensor([position / 10_000 ** (2 * pair / of) for pair in range(of // 2)], dtype=torch.float64)

    def turned(vector, place):
        """Every two neighbours as a complex number; the class token, at place 0, stays."""
        turn = torch.exp(1j * angles(max(place - 1, 0), CLASP.head_width))
        return torch.view_as_real(torch.view_as_complex(vector.reshape(-1, 2)) * turn).flatten()

    def linear(x, name):
        return x @ double[f"{name}.weight"].T + double.get(f"{name}.bias", 0)

    def normed(x, name):
        return functional.layer_norm(x, (CLASP.width,), double[f"{name}.weight"], double[f"{name}.bias"])

    def attended(x, name):
        parts = linear(normed(x, f"{name}.norm"), f"{name}.layer.queries_keys_values").chunk(3, dim=1)
        outputs = []
        for h in range(CLASP.heads):
            q, k, v = (part[:, h * CLASP.head_width : (h + 1) * CLASP.head_width] for part in parts)
            q, k = (torch.stack([turned(row, i) for i, row in enumerate(part)]) for part in (q, k))
            outputs.append((q @ k.T / math.sqrt(CLASP.head_width)).softmax(dim=1) @ v)
        return linear(torch.cat(outputs, 1), f"{name}.layer.out") * double[f"{name}.scale"]

    def fed(x, name):
        value, gate = linear(normed(x, f"{name}.norm"), f"{name}.layer.inner").chunk(2, dim=1)
        gelu = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        return linear(value * gelu, f"{name}.layer.out") * double[f"{name}.scale"]

    x = torch.stack([double["class_token"], *(double["tokens.weight"][number] for number in numbers)])
    turns = torch.stack([angles(position, CLASP.width) for position in range(len(x))])
    x = x + torch.cat([turns.sin(), turns.cos()], dim=1)
    first = second = x
    for layer in range(CLASP.depth):
        first = first + attended(second, f"attention.{layer}")
        second = second + fed(first, f"feed_forward.{layer}")
    return normed(first[0] + second[0], "norm")


def test_rows_are_those_of_a_slow_reference_without_padding(tiny):
    sequences = [untrained.padded(residues([sequence]), CLASP.sequence)[0] for sequence in SEQUENCES]
    texts = [untrained.tokens([text], CLASP.text, ends=False)[0] for text in TEXTS]
    with torch.no_grad():
        wanted = [reference(tiny.model.sequence, row[row >= 0].tolist()) for row in sequences]
        written = [reference(tiny.model.text, row[row >= 0].tolist()) for row in texts]
    for rows, theirs in ((tiny.non_text.encode(SEQUENCES), wanted), (tiny.text.encode(TEXTS), written)):
        assert (rows.dtype, rows.shape) == (np.float32, (len(theirs), CLASP.width))
        assert np.allclose(rows, functional.normalize(torch.stack(theirs)), atol=2e-6)
    assert np.ptp(tiny.non_text.encode(SEQUENCES), axis=0).max() > 0.05
    tokens = untrained.padded(residues(["MKV"]), CLASP.sequence)
    assert torch.equal(tiny.model.sequence(tokens), tiny.model.sequence(tokens[:, :3]))


def test_rotation_turns_pairs_by_their_frequencies():
    positions = clasp.sinusoids(9, 4)
    turned = clasp.rotated(torch.tensor([[1.0, 0, 0, 1.0]]), positions[1:2])[0]
    assert np.allclose(turned, [math.cos(1), math.sin(1), -math.sin(0.01), math.cos(0.01)], atol=1e-7)


def test_a_layer_is_scaled_behind_its_normalisation():
    scaled = clasp.Scaled(torch.nn.Identity(), 2)
    assert np.allclose(scaled(torch.tensor([3.0, 1.0])).detach(), [0.1, -0.1], atol=1e-4)


def test_residues_are_numbered_as_in_clasp_and_cut(tiny):
    *letters, last = clasp.ALPHABET
    assert letters == sorted("ARNDCQEGHILKMFPSTWYV" + "UO") and last == "X"
    assert residues(["ACY", "xbO*"]) == [[0, 1, 21], [22, 22, 12, 22]]
    assert tiny.non_text.prepare(["W" * 30, "A"])[:, [0, -1]].tolist() == [[20, 20], [0, untrained.PADDING]]
