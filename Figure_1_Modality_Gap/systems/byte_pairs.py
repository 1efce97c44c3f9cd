"""CLIP's byte pairs, which open_clip bundles, for systems whose own tokenizer lies on a hub or is CLIP's anyway.

Captions become rows of token numbers that end in ``PADDING``, a number that no token has: CLIP's own padding, 0, is the
token of an exclamation mark too.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

VOCABULARY = 49408
PADDING = -1
ABOUT = {"class": "SimpleTokenizer of open_clip", "lower_case": True}
"""For the settings of a tower."""


def tokens(captions: Sequence[str], length: int, ends: bool) -> Int[Tensor, "n length"]:
    """Captions as int64 numbers below ``VOCABULARY``, then ``PADDING``.

    Args:
        captions: strings; case is not kept, and what is longer is cut.
        length: tokens per caption.
        ends: whether a start and an end token stand around every caption; the end token is kept where it is cut.
    """
    tokenizer = _tokenizer()
    rows = [tokenizer.encode(caption) for caption in captions]
    if ends:
        rows = [[tokenizer.sot_token_id, *row[: length - 2], tokenizer.eot_token_id] for row in rows]
    return padded(rows, length)


def padded(rows: Sequence[Sequence[int]], length: int) -> Int[Tensor, "n length"]:
    """Rows of token numbers, cut at ``length`` or filled up with ``PADDING``."""
    return torch.tensor([[*row[:length], *[PADDING] * (length - len(row))] for row in rows], dtype=torch.int64)


def lengths(tokens: Int[Tensor, "n length"]) -> Int[Tensor, " n"]:
    """How many tokens of each row matter; at least 1, the first of an empty row being padding."""
    return (tokens != PADDING).sum(dim=1).clamp(min=1)


def cut(tokens: Int[Tensor, "n length"]) -> tuple[Int[Tensor, "n longest"], Bool[Tensor, "n longest"]]:
    """The columns up to the longest row's end, padding as token 0, and which of them are no padding."""
    tokens = tokens[:, : int(lengths(tokens).max())]
    return tokens.clamp(min=0), tokens != PADDING


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()
