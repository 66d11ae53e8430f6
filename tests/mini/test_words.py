"""The tokenizer: a word of the world is a token, everything else still is tokens."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from unet_atlas.mini.members import TOKENS
from unet_atlas.mini.words import tokenizer, words
from unet_atlas.shapes.captions import caption
from unet_atlas.shapes.world import draw_scene

TOKENIZER = tokenizer()


@pytest.mark.parametrize("word", words())
def test_each_word_is_one_token(word):
    start, token, end = TOKENIZER(word).input_ids
    assert TOKENIZER.decode([token]).strip() == word
    assert (start, end) == (TOKENIZER.bos_token_id, TOKENIZER.eos_token_id)


def test_every_caption_fits():
    lengths = [len(TOKENIZER(caption(draw_scene(5, i).request)).input_ids) for i in range(300)]
    assert max(lengths) <= TOKENS - 4
    assert TOKENIZER.model_max_length == TOKENS


def test_unknown_words_fall_into_letters_and_unknown_signs_into_the_end_token():
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER("xq").input_ids)[1:-1] == ["x", "q</w>"]
    assert TOKENIZER("é").input_ids.count(TOKENIZER.eos_token_id) > 1


def test_it_is_the_same_each_time_and_after_saving(tmp_path):
    assert tokenizer().get_vocab() == TOKENIZER.get_vocab()
    TOKENIZER.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a small red circle left of a large blue square, 3 cats"
    assert loaded(text).input_ids == TOKENIZER(text).input_ids
