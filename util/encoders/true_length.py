"""CLIP's text tower at the true length of the captions, with the same result.

The tower is causal: the output at the end token, which is all that is read, depends on no token after it. A batch may
therefore be cut at its longest caption, about 15 tokens of 77 for MSCOCO. open_clip takes no shorter sequence as it
is, so the positional embedding and the mask are cut here too. Towers of transformers inside open_clip (BERT and its
kin) mask their padding instead, and take a shorter sequence as it is.
"""

from collections.abc import Callable

import torch
from open_clip.hf_model import ClsLastHiddenStatePooler, ClsPooler, HFTextEncoder, MeanPooler
from torch import Tensor, nn

MASKED = (ClsPooler, ClsLastHiddenStatePooler, MeanPooler)
"""What reads a tower of transformers without its padding; open_clip's third way, the maximum, does not."""


def text_parts(model: nn.Module) -> nn.Module | None:
    """The module that holds the parts of a text tower that can be cut, or None where the model has no such tower."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its tower there, CLIP is its own
    if isinstance(text, HFTextEncoder):
        return text if isinstance(text.pooler, MASKED) else None
    wanted = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    return text if causal and all(hasattr(text, part) for part in wanted) and _pool(text) in ("argmax", "eos") else None


def lengths(text: nn.Module) -> Callable[[Tensor], Tensor]:
    """How many tokens of each row matter: up to and with the end token, or the last that is no padding."""
    if isinstance(text, HFTextEncoder):
        padding = text.config.pad_token_id
        return lambda tokens: tokens.shape[1] - (tokens.flip(1) != padding).int().argmax(dim=1)
    if _pool(text) == "argmax":  # the end token has the largest number
        return lambda tokens: tokens.argmax(dim=1) + 1
    end = text.text_eos_id if hasattr(text, "text_eos_id") else text.eos_id
    return lambda tokens: (tokens == end).int().argmax(dim=1) + 1


def forward(text: nn.Module) -> Callable[[Tensor], Tensor]:
    """Tokens (b, length) to embeddings (b, d), computed on the first tokens only, up to the last that matters."""
    count = lengths(text)
    if isinstance(text, HFTextEncoder):
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


def _pool(text: nn.Module) -> str:
    return getattr(text, "text_pool_type", None) or getattr(text, "pool_type", "none")
