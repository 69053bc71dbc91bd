"""The laws of a stream."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ALPHABET, TinyLanguage

from edgernn.errors import ConfigError, ContractError, SamplingError, SnapshotError, StreamError, UnknownTokenError
from edgernn.runtime import Model, Sampler
from edgernn.runtime.scoring import predictions, score

prompts = st.text(ALPHABET, min_size=1, max_size=20)
samplers = st.builds(Sampler, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(0, 12), st.integers(0, 2**64 - 1))


def text(stream, count):
    return "".join(stream.decode(count))


def assert_same(one, other):
    """Both streams stand at the same place, and go on alike."""
    for name, array in one.state.items():
        np.testing.assert_array_equal(array, other.state[name])
    np.testing.assert_array_equal(one.logits, other.logits)
    assert text(one.fork(), 20) == text(other.fork(), 20)


def test_greedy_text_is_the_oracles(model, tiny):
    stream = model.stream(Sampler(temperature=0))
    stream.prefill("abc")
    h = c = np.zeros((1, tiny.hidden), np.float32)
    for token in tiny.tokenizer.encode("abc"):
        logits, h, c = tiny.step(np.array([token]), h, c)
    expected = []
    for _ in range(50):
        logits[0, tiny.tokenizer.unknown_id] = -np.inf
        expected.append(int(logits[0].argmax()))
        logits, h, c = tiny.step(np.array([expected[-1]]), h, c)
    assert text(stream, 50) == tiny.tokenizer.decode(expected)


@given(prompts, st.integers(0, 20))
def test_a_prompt_cut_anywhere_is_the_whole_prompt(model, prompt, cut):
    whole, parts = model.stream(Sampler(seed=1)), model.stream(Sampler(seed=1))
    whole.prefill(prompt)
    parts.prefill(prompt[:cut])
    parts.prefill(prompt[cut:])
    assert_same(whole, parts)


@given(prompts, samplers, st.integers(0, 15), st.integers(0, 15))
def test_decoding_in_two_parts_is_decoding_once(model, prompt, sampler, first, second):
    whole, parts = model.stream(sampler), model.stream(sampler)
    whole.prefill(prompt)
    parts.prefill(prompt)
    assert text(whole, first + second) == text(parts, first) + text(parts, second)
    assert_same(whole, parts)


@given(st.lists(st.tuples(prompts, samplers), min_size=2, max_size=4), st.integers(1, 12))
def test_interleaved_streams_are_streams_run_alone(model, cases, count):
    alone = []
    for prompt, sampler in cases:
        stream = model.stream(sampler)
        stream.prefill(prompt)
        alone.append(text(stream, count))
    streams = [model.stream(sampler) for _, sampler in cases]
    for stream, (prompt, _) in zip(streams, cases, strict=True):
        stream.prefill(prompt)
    pieces = [[] for _ in cases]
    for _ in range(count):
        for stream, mine in zip(streams, pieces, strict=True):
            mine.append(text(stream, 1))
    assert ["".join(mine) for mine in pieces] == alone


@given(prompts, samplers, st.integers(0, 15))
def test_restoring_a_snapshot_is_going_on(model, prompt, sampler, count):
    stream = model.stream(sampler)
    stream.prefill(prompt)
    text(stream, count)
    saved = stream.snapshot()
    expected = text(stream, 20)
    elsewhere = model.stream(Sampler(temperature=0))
    elsewhere.restore(saved)
    assert elsewhere.sampler == sampler
    assert elsewhere.snapshot() == saved
    assert text(elsewhere, 20) == expected
    stream.restore(saved)
    assert text(stream, 20) == expected


@given(prompts, samplers, st.integers(0, 15))
def test_a_fork_stands_where_its_origin_stood(model, prompt, sampler, count):
    stream = model.stream(sampler)
    stream.prefill(prompt)
    text(stream, count)
    fork = stream.fork()
    expected = text(stream, 20)
    assert text(fork, 20) == expected
    assert_same(stream, fork)


@given(prompts, samplers, st.integers(0, 15))
def test_a_reset_stream_is_a_fresh_one(model, prompt, sampler, count):
    used, fresh = model.stream(sampler), model.stream(sampler)
    used.prefill(prompt)
    text(used, count)
    used.reset()
    assert used.logits is None
    for stream in (used, fresh):
        stream.prefill(prompt)
    assert_same(used, fresh)


def test_streams_without_a_seed_differ(model):
    streams = [model.stream(Sampler()) for _ in range(2)]
    for stream in streams:
        stream.prefill("a")
    assert text(streams[0], 60) != text(streams[1], 60)


def test_the_unknown_token_is_never_drawn(tmp_path):
    tiny = TinyLanguage.random()
    tiny.output[:, tiny.tokenizer.unknown_id] = 0
    tiny.output[:, 1:] -= 100
    stream = Model.load(tiny.write(tmp_path / "b")).stream(Sampler(seed=0))
    stream.prefill("a")
    assert set(text(stream, 50)) <= set(ALPHABET)


def test_text_comes_as_it_is_decided(model):
    stream, twin = model.stream(Sampler(seed=0)), model.stream(Sampler(seed=0))
    for each in (stream, twin):
        each.prefill("abc")
    three = list(islice(stream.decode(100), 3))
    assert "".join(three) == text(twin, 3)
    assert_same(stream, twin)


def test_a_step_by_hand_counts_as_a_token(model, tiny):
    by_hand, whole = model.stream(Sampler(seed=0)), model.stream(Sampler(seed=0))
    by_hand.prefill("abc")
    by_hand.step({"token": tiny.tokenizer.encode("h")})
    whole.prefill("abch")
    assert_same(by_hand, whole)


def test_what_a_stream_shows_is_a_copy(model, tiny):
    stream, twin = model.stream(Sampler(seed=0)), model.stream(Sampler(seed=0))
    for each in (stream, twin):
        each.prefill("abc")
    logits, h = stream.logits, stream.state["h"]
    outputs = stream.step({"token": tiny.tokenizer.encode("d")})
    kept = [array.copy() for array in (logits, h, outputs["logits"])]
    for array in (stream.logits, stream.state["h"], outputs["logits"]):
        array[:] = 9
    twin.prefill("d")
    assert_same(stream, twin)
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(h, kept[1])


def test_a_step_that_fails_changes_nothing(model):
    stream = model.stream(Sampler(seed=0))
    stream.prefill("abc")
    before = stream.snapshot()
    for inputs in ({"token": np.array([99])}, {"token": np.array([1.0])}, {"token": np.array([1, 2])}, {}):
        with pytest.raises(ContractError):
            stream.step(inputs)
    assert stream.snapshot() == before


def test_tokens_come_with_the_models_probabilities(model, tiny):
    stream = model.stream(Sampler(0.7, 3, seed=5))
    stream.prefill("ab")
    h = c = np.zeros((1, tiny.hidden), np.float32)
    for token in tiny.tokenizer.encode("ab"):
        logits, h, c = tiny.step(np.array([token]), h, c)
    twin = stream.fork()
    drawn = list(stream.tokens(20))
    assert "".join(each.text for each in drawn) == text(twin, 20)
    for each in drawn:
        wide = logits[0].astype(np.float64)
        assert each.log_probability == pytest.approx(wide[each.token] - np.log(np.exp(wide).sum()), abs=1e-5)
        logits, h, c = tiny.step(np.array([each.token]), h, c)


def test_a_text_can_be_had_whole_or_in_turns(model):
    streams = [model.stream(Sampler(seed=3)) for _ in range(4)]
    whole = streams[0].complete("abc", 30)
    assert streams[0].ended == "length"
    assert streams[1].complete("abc", 30, echo=True) == "abc" + whole

    async def listen():
        pieces, other = [], []
        streams[2].prefill("abc")
        streams[3].prefill("abc")

        async def follow(stream, into):
            async for piece in stream.adecode(30):
                into.append(piece)
                order.append(into is pieces)

        order = []
        await asyncio.gather(follow(streams[2], pieces), follow(streams[3], other))
        assert order[:4] == [True, False, True, False]
        return "".join(pieces), "".join(other)

    assert asyncio.run(listen()) == (whole, whole)


@given(prompts, st.integers(0, 99), st.lists(st.text("abcd", min_size=1, max_size=3), max_size=3))
def test_a_text_ends_before_its_first_stop_string(model, prompt, seed, stops):
    stream, free = model.stream(Sampler(seed=seed)), model.stream(Sampler(seed=seed))
    expected = free.complete(prompt, 40)
    found = [at for at in map(expected.find, stops) if at >= 0]
    assert stream.complete(prompt, 40, stops) == (expected[: min(found)] if found else expected)
    assert stream.ended == ("stop" if found else "length")


def test_the_penalty_looks_back_as_far_as_it_says(model):
    """Reading a prompt, stepping by hand and going on from a snapshot all count as saying."""
    sampler = Sampler(0.5, seed=1, repetition_penalty=2.0, repetition_window=6)
    stream = model.stream(sampler)
    stream.prefill("abcdefgh")
    by_hand, later = model.stream(sampler), model.stream()
    by_hand.prefill("abcdefg")
    by_hand.step({"token": model.tokenizer.encode("h")})
    later.restore(stream.snapshot())
    expected = text(stream.fork(), 40)
    assert text(by_hand, 40) == text(later, 40) == expected
    free = model.stream(Sampler(0.5, seed=1))
    free.prefill("abcdefgh")
    assert text(free, 40) != expected


def test_every_setting_travels_in_a_snapshot(model, tmp_path):
    settings = {"top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2, "repetition_window": 9}
    sampler = Sampler(0.7, 5, 6, bias={1: -np.inf, 2: 0.5}, **settings)
    stream = model.stream(sampler)
    stream.prefill("abc")
    stream.save(tmp_path / "snapshot")
    other = model.stream()
    other.load(tmp_path / "snapshot")
    assert other.sampler == sampler
    assert_same(stream, other)
    with pytest.raises(SnapshotError, match="none: cannot be read"):
        other.load(tmp_path / "none")


def test_two_threads_cannot_use_one_stream(model):
    stream = model.stream(Sampler(seed=0))
    stream.prefill("abc")
    begun, done = threading.Event(), threading.Event()

    class Slow:
        def step(self, inputs):
            begun.set()
            done.wait(5)
            return cursor.step(inputs)

    cursor, stream._cursor = stream._cursor, Slow()
    thread = threading.Thread(target=stream.prefill, args=("d",))
    thread.start()
    begun.wait(5)
    for use in (lambda: text(stream, 1), lambda: stream.prefill("d"), stream.snapshot, stream.fork):
        with pytest.raises(StreamError, match="the stream is in use"):
            use()
    done.set()
    thread.join()
    stream._cursor = cursor
    twin = model.stream(Sampler(seed=0))
    twin.prefill("abcd")
    assert text(stream, 20) == text(twin, 20)


def test_a_stream_keeps_its_own_conditions(conditioned):
    model = Model.load(conditioned)
    gain, x = np.ones((1, 1), np.float32), {"x": np.ones((1, 2), np.float32)}
    stream = model.stream(inputs={"image": np.ones((1, 3), np.float32), "gain": gain})
    twin = stream.fork()
    expected = twin.step(x)["y"]
    gain[:] = 100
    np.testing.assert_array_equal(stream.step(x)["y"], expected)


def test_a_replacement_character_is_a_character(tmp_path, monkeypatch):
    monkeypatch.setattr("tiny.ALPHABET", "\ufffd")
    stream = Model.load(TinyLanguage.random().write(tmp_path / "b")).stream(Sampler(temperature=0))
    stream.prefill("\ufffd")
    assert list(stream.decode(3)) == ["\ufffd"] * 3


def test_a_refused_prompt_changes_nothing(model):
    stream = model.stream(Sampler(seed=0))
    stream.prefill("abc")
    before = stream.snapshot()
    with pytest.raises(UnknownTokenError, match="no 'é'"):
        stream.prefill("abé")
    with pytest.raises(ContractError, match=r"token 77 is outside the vocabulary, 0\.\.10"):
        stream.prefill(np.array([1, 77]))
    with pytest.raises(ContractError, match=r"token ids must be an array of whole numbers"):
        stream.prefill(np.array([0.5]))
    assert stream.snapshot() == before


def test_a_prompt_may_be_token_ids(model, tiny):
    streams = [model.stream(Sampler(seed=0)) for _ in range(2)]
    streams[0].prefill("hello"[:1] + "abc")
    streams[1].prefill(tiny.tokenizer.encode("habc"))
    assert_same(*streams)


def test_decoding_needs_a_prompt(model):
    with pytest.raises(StreamError, match="prefill a prompt first"):
        text(model.stream(), 1)


def test_a_model_without_text_only_steps(conditioned):
    model = Model.load(conditioned)
    stream = model.stream(inputs={"image": np.ones((1, 3), np.float32), "gain": np.ones((1, 1), np.float32)})
    with pytest.raises(StreamError, match="the bundle, of the task sum, has no tokenizer"):
        stream.prefill("a")
    with pytest.raises(StreamError, match="has no tokenizer and so reads no text: call step"):
        score(model, "ab")


def test_logits_that_are_not_numbers_are_named(tmp_path):
    tiny = TinyLanguage.random()
    tiny.output[:] = np.nan
    stream = Model.load(tiny.write(tmp_path / "b")).stream()
    stream.prefill("a")
    with pytest.raises(SamplingError, match="after step 1: no token can be drawn: the highest logit is nan"):
        text(stream, 1)


@given(st.text(ALPHABET + "é", min_size=2, max_size=30))
def test_the_score_is_the_oracles(model, tiny, content):
    ids = tiny.tokenizer.encode(content, unknown="replace")
    h = c = np.zeros((1, tiny.hidden), np.float32)
    nats = 0.0
    for token, target in pairwise(ids):
        logits, h, c = tiny.step(np.array([token]), h, c)
        wide = logits[0].astype(np.float64)
        nats += np.log(np.exp(wide).sum()) - wide[target]
    result = score(model, content)
    assert result.nats == pytest.approx(nats, rel=1e-4)
    assert (result.tokens, result.chars) == (len(content) - 1, len(content) - 1)
    assert result.unknown == content[1:].count("é")
    assert result.bits_per_char == pytest.approx(result.nats_per_char / np.log(2))
    assert result.perplexity == pytest.approx(np.exp(result.nats / result.tokens))


@given(st.text(ALPHABET, min_size=2, max_size=40), st.integers(1, 5))
def test_a_text_in_pieces_has_the_score_of_the_whole(model, content, size):
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert score(model, iter(pieces)) == score(model, content)
    (whole,) = predictions(model, content)
    assert np.isnan(whole.log_probabilities[0])
    assert -whole.log_probabilities[1:].sum() == pytest.approx(score(model, content).nats)


def test_one_character_cannot_be_scored(model):
    with pytest.raises(StreamError, match="fewer than two tokens"):
        score(model, "a")


def test_a_snapshot_of_other_weights_or_precision_is_refused(model, tmp_path):
    stream = model.stream(Sampler(seed=0))
    stream.prefill("abc")
    saved = stream.snapshot()
    tiny = TinyLanguage.random()
    other = Model.load(tiny.write(tmp_path / "other", digest="0" * 64)).stream()
    with pytest.raises(SnapshotError, match="taken from a model of another run"):
        other.restore(saved)
    lower = Model.load(tiny.write(tmp_path / "lower", precision="int8")).stream()
    before = lower.snapshot()
    with pytest.raises(
        SnapshotError, match=r"at fp32 and the model is int8: load a bundle at fp32, or set any_precision"
    ):
        lower.restore(saved)
    assert lower.snapshot() == before
    lower.restore(saved, any_precision=True)
    assert text(lower, 20) == text(stream, 20)


@given(st.data())
def test_a_damaged_snapshot_is_refused(model, data):
    stream = model.stream(Sampler(seed=0))
    stream.prefill("abc")
    before = stream.snapshot()
    damaged = bytearray(before)
    at = data.draw(st.integers(0, len(damaged) - 1))
    if data.draw(st.booleans()):
        del damaged[at:]
    else:
        damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        stream.restore(bytes(damaged))
    assert stream.snapshot() == before


def test_a_bias_of_a_token_that_the_vocabulary_lacks_is_named(model):
    with pytest.raises(ConfigError, match="a bias is given for token 11, and the vocabulary ends at 10"):
        model.stream(Sampler(bias={11: 1.0}))


def test_threads_share_a_model(model):
    """Eight streams in eight threads at once have the texts that they have one after the other."""
    samplers = [Sampler(0.9, 5, seed) for seed in range(8)]
    expected = [model.stream(sampler).complete("abc", 300) for sampler in samplers]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sampler: model.stream(sampler).complete("abc", 300), samplers))
    assert found == expected


def test_a_sampler_can_be_changed_in_the_middle(model):
    """A penalty knows what was said before it was set; another seed begins anew."""
    stream, whole = model.stream(Sampler(temperature=0)), model.stream(Sampler(0, repetition_penalty=3.0))
    for each in (stream, whole):
        each.prefill("abcab")
    stream.sampler = whole.sampler
    assert text(stream, 20) == text(whole, 20)
    stream.sampler = Sampler(seed=5)
    fresh = model.stream(Sampler(seed=5))
    fresh.restore(stream.snapshot())
    assert stream._sampling.generator.state == 5
    assert text(stream, 9) == text(fresh, 9)


@pytest.mark.parametrize("arguments", [{"max_tokens": 2.5}, {"max_tokens": "5"}, {"max_tokens": -1}, {"stop": None}])
def test_impossible_ends_are_named(model, arguments):
    stream = model.stream()
    stream.prefill("a")
    with pytest.raises(ConfigError, match="max_tokens"):
        list(stream.decode(**arguments))


def test_a_snapshot_that_cannot_be_written_is_named(model, tmp_path):
    with pytest.raises(SnapshotError, match="cannot be written"):
        model.stream().save(tmp_path / "nowhere" / "snapshot")
