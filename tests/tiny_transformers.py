"""Models of transformers, their tokenizers and processors, so small that they take no time."""

import sentencepiece
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CONTEXT, SIDE = 16, 32
LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
STARK = {**LAYERS, "initializer_range": 0.3}
"""With BERT's usual weights every caption has almost the same embedding."""


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
