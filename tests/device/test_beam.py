"""Beam search against the search of everything."""

from itertools import product

import numpy as np
import pytest
from tiny import TinyLanguage

from edgernn.errors import ConfigError, StreamError, UnknownTokenError
from edgernn.runtime import Model, Sampler, beam_search, suggest
from edgernn.runtime.suggest import Suggestion
from edgernn.tokenizer import Tokenizer


def ids(tiny, text):
    return tiny.tokenizer.encode(text).tolist()


def probability(tiny, prompt, tokens):
    """The logarithm of the probability of `tokens` after `prompt`."""
    h = c = np.zeros((1, tiny.hidden), np.float32)
    total, logits = 0.0, None
    for place, token in enumerate((*prompt, *tokens)):
        if place >= len(prompt):
            wide = logits[0].astype(np.float64)
            total += wide[token] - np.log(np.exp(wide).sum())
        logits, h, c = tiny.step(np.array([token]), h, c)
    return total


def test_a_wide_beam_finds_what_the_search_of_everything_finds(model, tiny):
    stream = model.stream()
    stream.prefill("ab")
    before = stream.snapshot()
    found = beam_search(stream, width=1000, max_tokens=3, length_penalty=0)
    assert stream.snapshot() == before
    every = {tokens: probability(tiny, ids(tiny, "ab"), tokens) for tokens in product(range(1, 11), repeat=3)}
    assert {candidate.tokens for candidate in found} == every.keys()
    for candidate in found:
        assert candidate.log_probability == pytest.approx(every[candidate.tokens], abs=1e-4)
        assert candidate.text == tiny.tokenizer.decode(candidate.tokens)
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)


def test_a_beam_of_one_is_greedy(model):
    stream, greedy = model.stream(), model.stream(Sampler(temperature=0))
    for each in (stream, greedy):
        each.prefill("abc")
    (best,) = beam_search(stream, width=1, max_tokens=20)
    assert best.text == "".join(greedy.decode(20))
    assert best.score == pytest.approx(best.log_probability / 20**0.7)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_ends_where_the_greedy_text_ends(seed, tmp_path):
    tiny = TinyLanguage.random(seed=seed)
    record = tiny.tokenizer.to_json().replace('"h":', '"<end>":')
    object.__setattr__(tiny, "tokenizer", Tokenizer.from_json(record))
    object.__setattr__(tiny, "output", 6 * tiny.output)  # sure of itself, so that a longer text may score higher
    model = Model.load(tiny.write(tmp_path / "ending"))
    for prompt in map("".join, product("abcdefg", repeat=2)):
        stream, greedy = model.stream(), model.stream(Sampler(temperature=0))
        for each in (stream, greedy):
            each.prefill(prompt)
        (best,) = beam_search(stream, width=1, max_tokens=30)
        assert best.text == "".join(greedy.decode(30))


@pytest.fixture
def ending(tmp_path):
    """A model whose vocabulary has an end token."""
    tiny = TinyLanguage.random()
    record = tiny.tokenizer.to_json().replace('"h":', '"<end>":')
    object.__setattr__(tiny, "tokenizer", Tokenizer.from_json(record))
    return tiny, Model.load(tiny.write(tmp_path / "ending"))


def test_candidates_end_at_the_end_token(ending):
    tiny, model = ending
    end = tiny.tokenizer.end_id
    stream = model.stream()
    stream.prefill("ab")
    found = beam_search(stream, width=2000, max_tokens=3, length_penalty=1.0)
    every = {}
    for tokens in product(range(1, 11), repeat=3):
        cut = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        every[cut] = probability(tiny, ids(tiny, "ab"), cut) / len(cut)
    best = sorted(every, key=lambda tokens: -every[tokens])[:20]
    assert [candidate.tokens for candidate in found[:20]] == best
    assert all("<end>" not in candidate.text for candidate in found)
    narrow = beam_search(stream, width=30, max_tokens=30, length_penalty=0)
    assert any(candidate.tokens[-1] == end and len(candidate.tokens) < 30 for candidate in narrow)


def test_a_text_ends_at_the_end_token(ending):
    tiny, model = ending
    stream = model.stream(Sampler(seed=0))
    stream.prefill("ab")
    drawn = list(stream.tokens(500))
    assert stream.ended == "end"
    assert drawn[-1].token == tiny.tokenizer.end_id
    assert tiny.tokenizer.end_id not in [each.token for each in drawn[:-1]]
    assert "<end>" not in "".join(each.text for each in drawn)


def test_impossible_beams_are_named(model):
    stream = model.stream()
    with pytest.raises(StreamError, match="there are no logits yet"):
        beam_search(stream)
    stream.prefill("a")
    for settings in ({"width": 0}, {"max_tokens": 0}, {"length_penalty": -1}, {"length_penalty": float("nan")}):
        with pytest.raises(ConfigError, match="a beam needs"):
            beam_search(stream, **settings)


def test_the_likeliest_tokens_are_suggested(model, tiny):
    suggested = suggest(model, "ab", 4, unit="token")
    expected = {tiny.tokenizer.decode([t]): np.exp(probability(tiny, ids(tiny, "ab"), [t])) for t in range(1, 11)}
    best = sorted(expected.items(), key=lambda item: -item[1])[:4]
    assert [each.text for each in suggested] == [text for text, _ in best]
    for each, (_, value) in zip(suggested, best, strict=True):
        assert each.probability == pytest.approx(value, rel=1e-4)


def test_words_are_suggested_with_their_probability(tmp_path):
    """After "ab" the oracle knows every word of up to three letters; a word ends at a space or line break."""
    tiny = TinyLanguage.random(seed=3)
    tiny.output[:, ids(tiny, " \n")] += 2.0
    model = Model.load(tiny.write(tmp_path / "b"))
    expected = {}
    for length in range(4):
        for letters in product(ids(tiny, "abcdefgh"), repeat=length):
            ends = (probability(tiny, ids(tiny, "ab"), (*letters, end)) for end in ids(tiny, " \n"))
            expected[tiny.tokenizer.decode(letters)] = sum(np.exp(list(ends)))
    best = sorted(expected.items(), key=lambda item: -item[1])
    suggested = suggest(model, "ab", 3)
    assert all(isinstance(each, Suggestion) for each in suggested)
    for each in suggested:
        if len(each.text) <= 3 and each.text in expected:
            assert each.probability == pytest.approx(expected[each.text], rel=0.05)
    assert suggested[0].text == best[0][0] or best[0][0] == ""


def test_impossible_suggestions_are_named(model):
    for settings in ({"k": 0}, {"unit": "page"}):
        with pytest.raises(ConfigError, match=r"the number of suggestions, .*, is below 1, or the unit"):
            suggest(model, "ab", **settings)
    with pytest.raises(StreamError, match="the prefix is empty"):
        suggest(model, "")


def test_a_keyboard_does_not_fail_on_an_emoji(model):
    with pytest.raises(UnknownTokenError):
        suggest(model, "ab\U0001f600")
    assert suggest(model, "ab\U0001f600", unknown="skip") == suggest(model, "ab")
    with pytest.raises(StreamError, match="the prefix has no character of the vocabulary"):
        suggest(model, "\U0001f600", unknown="skip")
