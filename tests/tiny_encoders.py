"""Encoders so small that they take no time, and what the tests of every encoder ask of it."""

import json
from contextlib import contextmanager

import numpy as np
import open_clip
import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import save_file

from systems import clasp, convirt
from util.encoders.named import Named

FRAMES, CONTEXT, SIDE = 3, 16, 32
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
STARK = {**LAYERS, "initializer_range": 0.3}
"""With BERT's usual weights every caption has almost the same embedding."""
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}
CLASP = clasp.Sizes(width=16, depth=3, heads=2, head_width=8, mlp=2, text=32, sequence=20)
CONVIRT = convirt.Sizes(resnet="resnet18", width=32, layers=2, heads=4, mlp=48, context=16, dim=24)


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory):
    """Lets open_clip know "tiny" and "tiny-quickgelu"."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    (folder / "tiny-quickgelu.json").write_text(json.dumps({**TINY, "quick_gelu": True}))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in ("tiny", "tiny-quickgelu"):
        del open_clip.factory._MODEL_CONFIGS[name]


def with_weights(folder):
    """The name of "tiny" with a file of random weights in a folder."""
    save_file(Named.parse("tiny").pair(0, "cpu").model.state_dict(), folder / "weights.safetensors")
    return f"open_clip:tiny:{folder / 'weights.safetensors'}"


def configure(folder, **parts):
    """Makes a folder with the configuration of a tiny model, as on the hub."""
    folder.mkdir(parents=True)
    about = {"model_cfg": {**TINY, **parts}, "preprocess_cfg": HALF}
    (folder / "open_clip_config.json").write_text(json.dumps(about))


def put_weights(folder, seed):
    """Writes the random weights of a seed as the folder's own."""
    model = Named.parse(f"local-dir:{folder}").pair(seed, "cpu").model
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


def clip_tokenizer():
    """Letters and one word; the end token is the last of 57 and pads, as in OpenAI's."""
    tokens = [*LETTERS, *[f"{c}</w>" for c in LETTERS], "ca", "cat</w>", "!", "<|startoftext|>", "<|endoftext|>"]
    merges = [("c", "a"), ("ca", "t</w>")]
    return transformers.CLIPTokenizer({t: i for i, t in enumerate(tokens)}, merges, model_max_length=CONTEXT)


def bert_tokenizer():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *[f"##{c}" for c in LETTERS]]
    return transformers.BertTokenizer({t: i for i, t in enumerate(tokens)}, model_max_length=CONTEXT)


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


def clip_processor():
    return transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE)


MAKERS = {
    "clip": lambda folder: (clip_model(56), clip_tokenizer(), clip_processor()),
    "clip as released": lambda folder: (clip_model(2), clip_tokenizer(), clip_processor()),
    "owlvit": lambda folder: (clip_model(56, "OwlViT"), clip_tokenizer(), clip_processor()),
    "siglip": lambda folder: (
        siglip_model(),
        siglip_tokenizer(folder),
        transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}),
    ),
}
"""Name -> what gives a model, its tokenizer and its processor; the folder is for a tokenizer that is trained."""


def x_clip_config(vocabulary=49408, context=77, frames=FRAMES):
    text = {"vocab_size": vocabulary, "max_position_embeddings": context, **LAYERS, "hidden_size": 16}
    mit = {"mit_hidden_size": 24, "mit_intermediate_size": 48, "mit_num_attention_heads": 4}
    vision = {"image_size": SIDE, "patch_size": 16, "num_frames": frames, **mit, **LAYERS}
    prompts = {"prompt_num_attention_heads": 4, "prompt_alpha": 0.5}
    return transformers.XCLIPConfig(text_config=text, vision_config=vision, projection_dim=24, **prompts)


@contextmanager
def undisturbed():
    """The block leaves torch's own generator as it was."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def only_the_seed_decides(rows):
    """``rows(seed)`` are those of the seed, and torch's own generator stays as it was."""
    with undisturbed():
        first = rows(3)
    assert np.array_equal(rows(3), first)
    assert not np.allclose(rows(4), first, atol=1e-3)


def rows_of_both(pair, images, captions, batch_size=None):
    """Rows of both towers, as float32 unit rows of the width that the settings say."""
    found = pair.non_text.encode(iter(images), batch_size), pair.text.encode(captions, batch_size)
    for rows, count in zip(found, (len(images), len(captions)), strict=True):
        assert (rows.dtype, rows.shape) == (np.float32, (count, pair.settings["dim"]))
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    return found


def agree(one, other, atol=1e-6):
    """Whether the rows of both towers are the same, rounding aside."""
    return all(np.allclose(a, b, atol=atol) for a, b in zip(one, other, strict=True))
