"""Tokenizers and sizes of transformers models so small that they take no time."""

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
