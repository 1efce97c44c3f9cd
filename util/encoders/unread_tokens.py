"""CLIP's text tower without the work on tokens that nothing reads, with the same result.

It is causal, and read at the end token alone, which depends on no token after it. A batch may be cut at its longest
caption: about 15 tokens of 77 for MSCOCO. open_clip takes no shorter sequence, so the positional embedding and the mask
are cut here. Towers of transformers inside open_clip (BERT and its kin) mask their padding, and do take one.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Lengths = Callable[[Tensor], Tensor]
"""Tokens (n, length) to how many of each row matter (n,)."""

MASKED = ("ClsPooler", "ClsLastHiddenStatePooler", "MeanPooler")
"""open_clip's poolers that leave the padding of a transformers tower out; its third, the maximum, does not."""


def text_parts(model: nn.Module) -> nn.Module | None:
    """The module that holds the parts of a text tower that can be cut; None where the model has no such tower."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its tower there, CLIP is its own
    if _is_of_transformers(text):
        return text if type(text.pooler).__name__ in MASKED else None
    wanted = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    return text if causal and all(hasattr(text, part) for part in wanted) and _pool(text) in ("argmax", "eos") else None


def lengths(text: nn.Module) -> Lengths:
    """How many tokens a text tower of ``text_parts`` reads."""
    if _is_of_transformers(text):
        return without_padding(text.config.pad_token_id)
    if _pool(text) == "argmax":
        return up_to_largest
    return up_to(text.text_eos_id if hasattr(text, "text_eos_id") else text.eos_id)


def up_to_largest(tokens: Tensor) -> Tensor:
    """Lengths up to and with the largest number, that of CLIP's end token."""
    return tokens.argmax(dim=1) + 1


def up_to(end: int) -> Lengths:
    """Lengths up to and with the first token of this number."""
    return lambda tokens: (tokens == end).int().argmax(dim=1) + 1


def without_padding(padding: int) -> Lengths:
    """Lengths up to and with the last token of another number."""
    return lambda tokens: tokens.shape[1] - (tokens.flip(1) != padding).int().argmax(dim=1)


def text_forward(text: nn.Module) -> Callable[[Tensor], Tensor]:
    """Tokens (b, length) to embeddings (b, d), computed on the first tokens only, up to the last that matters."""
    count = lengths(text)
    if _is_of_transformers(text):
        return lambda tokens: text(tokens[:, : int(count(tokens).max())])

    def embed(tokens: Tensor) -> Tensor:
        last = count(tokens) - 1
        length = int(last.max()) + 1
        x = text.token_embedding(tokens[:, :length]) + text.positional_embedding[:length]
        x = text.transformer(x, attn_mask=text.attn_mask[:length, :length])
        x = text.ln_final(x[torch.arange(len(x), device=x.device), last])
        projection = text.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    return embed


def _is_of_transformers(text: nn.Module) -> bool:
    return type(text).__name__ == "HFTextEncoder"


def _pool(text: nn.Module) -> str:
    return getattr(text, "text_pool_type", None) or getattr(text, "pool_type", "none")
