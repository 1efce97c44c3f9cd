"""CLIP's byte pairs with a padding that no token is."""

import torch
from open_clip.tokenizer import SimpleTokenizer

from systems import untrained

CAPTIONS = ["a cat", "", "Two DOGS on a bench!", "x " * 50]


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
