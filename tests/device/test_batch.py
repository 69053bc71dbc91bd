"""A stream in a batch is the stream alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ALPHABET, TinyLanguage

from edgernn.errors import SamplingError, StreamError, UnknownTokenError
from edgernn.runtime import Batch, Model, Sampler

prompts = st.text(ALPHABET, min_size=1, max_size=9)
samplers = st.builds(
    Sampler,
    st.sampled_from([0.0, 0.7, 1.5]),
    st.sampled_from([0, 4]),
    st.integers(0, 99),
    repetition_penalty=st.sampled_from([1.0, 1.4]),
)
comings = st.tuples(prompts, samplers, st.integers(1, 12), st.sampled_from([(), "b", ("ca", "d")]), st.integers(0, 8))


@settings(max_examples=60)
@given(st.lists(comings, min_size=1, max_size=6))
def test_streams_that_come_and_go_are_streams_alone(model, cases):
    """Each joins at its own step and leaves when its text ends."""
    expected = []
    for prompt, sampler, tokens, stop, _ in cases:
        alone = model.stream(sampler)
        expected.append((alone.complete(prompt, tokens, stop), alone.ended, alone.snapshot()))
    batch, slots, texts, step = Batch(model), {}, {}, 0
    while len(slots) < len(cases) or len(batch):
        for case, (prompt, sampler, tokens, stop, when) in enumerate(cases):
            if when == step:
                slots[case] = batch.join(model.stream(sampler), prompt, tokens, stop)
        for slot, text in batch.step():
            texts[slot] = texts.get(slot, "") + text
        step += 1
    for case, slot in slots.items():
        text, ended, snapshot = expected[case]
        assert (slot.text, slot.ended) == (text, ended)
        assert texts.get(slot, "") == text
        assert slot.stream.snapshot() == snapshot


def test_a_stream_that_leaves_goes_on_alone(model):
    batch, alone = Batch(model), model.stream(Sampler(seed=1))
    slots = [batch.join(model.stream(Sampler(seed=seed)), "abc") for seed in range(3)]
    for _ in range(10):
        batch.step()
    stream = batch.leave(slots[1])
    whole = alone.complete("abc", 20)
    assert slots[1].text == whole[: len(slots[1].text)]
    assert slots[1].text + "".join(stream.decode(20 - len(slots[1].text))) == whole
    assert len(batch) == 2
    again = batch.join(stream, max_tokens=5)
    for _ in range(5):
        batch.step()
    assert again.text == "".join(alone.decode(5))


def test_what_cannot_join_is_named(model, bundle, conditioned):
    batch, stream = Batch(model), model.stream()
    with pytest.raises(StreamError, match="the stream has read no prompt yet: give join a prompt"):
        batch.join(stream)
    with pytest.raises(UnknownTokenError):
        batch.join(stream, "é")
    with pytest.raises(StreamError, match="max_tokens is 0"):
        batch.join(stream, "a", 0)
    with pytest.raises(StreamError, match="belongs to another model or graph"):
        batch.join(Model.load(bundle).stream(), "a")
    assert len(batch) == 0
    slot = batch.join(stream, "a")
    for use in (lambda: batch.join(stream, "a"), lambda: stream.prefill("a"), stream.snapshot):
        with pytest.raises(StreamError, match="the stream is in use"):
            use()
    assert batch.leave(slot) is stream
    with pytest.raises(StreamError, match="is not in this batch"):
        batch.leave(slot)
    with pytest.raises(StreamError, match="has no tokenizer and so reads no text"):
        Batch(Model.load(conditioned))
    assert batch.step() == []


def test_a_stream_from_which_nothing_can_be_drawn_leaves(tmp_path):
    """The others go on as if it had never been there."""
    tiny = TinyLanguage.random()
    tiny.embedding[1] = np.nan
    model = Model.load(tiny.write(tmp_path / "b"))
    sampler = Sampler(seed=7, bias={1: -np.inf})
    alone = model.stream(sampler).complete("cd", 6)
    batch = Batch(model)
    good = batch.join(model.stream(sampler), "cd", 6)
    bad = batch.join(model.stream(Sampler(seed=8)), tiny.tokenizer.decode([1]) + "a")
    batch.step()
    batch.step()
    with pytest.raises(SamplingError, match="after step 2: no token can be drawn"):
        batch.step()
    assert len(batch) == 1
    assert bad.stream.steps == 2
    for _ in batch.run():
        pass
    assert good.text == alone


class Failing:
    """An engine that fails once, as one does that is interrupted."""

    def __init__(self, engine, at):
        self.engine, self.left = engine, at

    def run(self, feeds):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.engine.run(feeds)


@given(st.integers(1, 9))
def test_a_step_that_fails_changes_nothing(bundle, at):
    model = Model.load(bundle)
    expected = [model.stream(Sampler(seed=seed)).complete("abc", 6) for seed in range(3)]
    graph = model._graphs["step"]
    batch = Batch(model)
    slots = [batch.join(model.stream(Sampler(seed=seed)), "abc", 6) for seed in range(3)]
    model._graphs["step"] = replace(graph, engine=Failing(graph.engine, at))
    for _ in range(20):
        try:
            batch.step()
        except KeyboardInterrupt:
            continue
    assert [slot.text for slot in slots] == expected


def test_a_stream_that_leaves_at_once_is_as_it_came(model):
    batch = Batch(model)
    stream = batch.leave(batch.join(model.stream(Sampler(seed=1)), "abc"))
    assert stream.logits is None
    with pytest.raises(StreamError, match="there are no logits yet"):
        next(stream.decode(1))
    assert stream.complete("abc", 9) == model.stream(Sampler(seed=1)).complete("abc", 9)


def test_a_batch_that_is_closed_gives_its_streams_back(model):
    streams = [model.stream(Sampler(seed=seed)) for seed in range(3)]
    with Batch(model) as batch:
        slots = [batch.join(stream, "abc", 4) for stream in streams]
        for _ in range(5):
            batch.step()
        for use in (streams[0].fork, streams[0].reset, lambda: streams[0].state, lambda: streams[0].logits):
            with pytest.raises(StreamError, match="the stream is in use"):
                use()
    assert len(batch) == 0
    assert [len(slot.text) for slot in slots] == [2, 2, 2]
    assert all(stream.steps == 5 for stream in streams)


def test_why_a_text_ended_is_known_to_its_stream_too(model):
    batch = Batch(model)
    slot = batch.join(model.stream(Sampler(seed=1)), "abc", 3)
    for _ in batch.run():
        pass
    assert (slot.ended, slot.stream.ended, slot.tokens) == ("length", "length", 3)
