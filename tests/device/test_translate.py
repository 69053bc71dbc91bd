"""Translation on the device: streams that begin from the steps of another graph, the pipeline, and the command."""

import io
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from tiny import TRANSLATOR_LONGEST, write_translator

from edgernn.contract import select, stack
from edgernn.errors import ConfigError, ContractError, SnapshotError, StreamError, UnknownTokenError
from edgernn.runtime import Batch, Model, Sampler, beam_search
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.translate import (
    SentenceReader,
    TranslateOptions,
    alignment,
    draw_translation,
    encode_sentence,
    start_translation,
    translate,
)

SENTENCES = ["ein hund läuft", "hund", "ein hund schläft ein hund läuft hund", "läuft läuft"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return write_translator(tmp_path_factory.mktemp("bundles") / "translator")


@pytest.fixture(scope="module")
def model(translator):
    return Model.load(translator)


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A translator without attention."""
    return Model.load(write_translator(tmp_path_factory.mktemp("bundles") / "blind", attends=False))


def steps_of(model, ids):
    """The outputs of the steps of the first graph, and its states, by the pure step."""
    outputs, states = [], [np.zeros((1, 6), np.float32)]
    for token in ids:
        made, state = model.step({"source": np.array([token])}, {"h": states[-1]}, graph="read")
        outputs.append(made)
        states.append(state["h"])
    return outputs, states


def oracle(model, sentence, longest):
    """The most likely token every time, by the pure step."""
    ids = encode_sentence(model, sentence)
    conditions, state = model.begin({"source": ids[:, None]})
    token, written = model.tokenizer.start_id, []
    for _ in range(longest):
        outputs, state = model.step({"token": np.array([token])}, state, conditions=conditions)
        logits = outputs["logits"][0].copy()
        logits[list(model.tokenizer.never_sampled)] = -np.inf
        token = int(logits.argmax())
        written.append(token)
        if token == model.tokenizer.end_id:
            break
    return tuple(written)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_stream_begins_with_all_steps_and_the_last_state_of_another_graph(model, sentence):
    ids = encode_sentence(model, sentence)
    assert ids[-1] == model.tokenizer.end_id
    assert len(ids) == len(sentence.split()) + 1
    outputs, states = steps_of(model, ids)
    conditions, state = model.begin({"source": ids[:, None]})
    np.testing.assert_array_equal(conditions["memory"], np.stack([made["memory"] for made in outputs], 1))
    np.testing.assert_array_equal(conditions["mask"], np.ones((1, len(ids), 1)))
    np.testing.assert_array_equal(state["h"], states[-1])


def test_streams_of_one_length_begin_in_a_batch(model):
    ids = np.array([[3, 4, 5, 2], [7, 8, 9, 2]])
    conditions, state = model.begin({"source": ids.T})
    for row, each in enumerate(ids):
        alone, first = model.begin({"source": each[:, None]})
        for name, array in alone.items():
            np.testing.assert_allclose(conditions[name][[row]], array, atol=1e-6)
        np.testing.assert_allclose(state["h"][[row]], first["h"], atol=1e-6)


@pytest.mark.parametrize("cuts", [(1,), (2, 3, 5), (4, 9, 10), (5, 6, 7, 8), tuple(range(1, 36))])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_may_arrive_in_pieces(model, sentence, cuts):
    reader = SentenceReader(model)
    places = [0, *(cut for cut in cuts if cut < len(sentence)), len(sentence)]
    for begin, end in pairwise(places):
        reader.push(sentence[begin:end])
    whole = start_translation(model, encode_sentence(model, sentence), Sampler(seed=1))
    pieces = reader.begin(Sampler(seed=1))
    assert pieces.snapshot() == whole.snapshot()


def test_a_reading_can_go_on_after_a_stream_has_begun(model):
    reading = model.reading("read")
    reading.push({"source": np.array([[3], [4]])})
    first = model.stream(readings=[reading])
    before = {name: array.copy() for name, array in first.conditions.items()}
    reading.push({"source": np.array([[5]])})
    assert reading.steps == 3
    second = model.stream(readings=[reading])
    for name, array in first.conditions.items():
        np.testing.assert_array_equal(array, before[name])
        np.testing.assert_array_equal(second.conditions[name][:, :2], array)
    whole = model.stream(inputs={"source": np.array([[3], [4], [5]])})
    np.testing.assert_array_equal(second.state["h"], whole.state["h"])


def test_padding_never_changes_a_result(model):
    begun = [model.begin({"source": encode_sentence(model, sentence)[:, None]}) for sentence in SENTENCES]
    spec = model.contract["step"]
    conditions = stack(spec.conditions, [each for each, _ in begun])
    longest = max(len(sentence.split()) for sentence in SENTENCES) + 1
    assert conditions["mask"].shape == (len(SENTENCES), longest, 1)
    state = stack(spec.states, [each for _, each in begun])
    for token in (1, 7, 9):
        outputs, state = model.step({"token": np.full(len(SENTENCES), token)}, state, conditions=conditions)
        for row, (own, first) in enumerate(begun):
            alone, carried = model.step({"token": np.array([token])}, first, conditions=own)
            begun[row] = own, carried
            size = own["mask"].shape[1]
            np.testing.assert_allclose(outputs["logits"][[row]], alone["logits"], atol=1e-5)
            np.testing.assert_allclose(outputs["attention"][[row], :size], alone["attention"], atol=1e-6)
            assert not outputs["attention"][row, size:].any()
    assert select(spec.conditions, conditions, [1])["memory"].shape == (1, longest, 6)


def test_sentences_of_different_lengths_are_translated_in_a_batch(model):
    sampler = Sampler(temperature=0, bias={model.tokenizer.end_id: -np.inf}, seed=0)

    def begun(sentence):
        return start_translation(model, encode_sentence(model, sentence), sampler)

    alone = ["".join(begun(sentence).decode(6)) for sentence in SENTENCES]
    with Batch(model) as batch:
        slots = [batch.join(begun(sentence), "", 6) for sentence in SENTENCES]
        for _ in batch.run():
            pass
    assert [slot.text for slot in slots] == alone
    assert len(set(alone)) > 1


def test_a_translation_continues_from_a_snapshot(model):
    stream = start_translation(model, encode_sentence(model, SENTENCES[2]), Sampler(seed=3))
    next(stream.tokens(1))
    saved, expected = stream.snapshot(), [token.token for token in stream.tokens(6)]
    other = start_translation(model, encode_sentence(model, SENTENCES[1]))
    other.restore(saved)
    np.testing.assert_array_equal(other.conditions["memory"], stream.conditions["memory"])
    assert [token.token for token in other.tokens(6)] == expected
    assert stream.conditions["memory"].shape[1] == 8


def test_a_snapshot_of_another_translator_is_refused(model, blind):
    saved = start_translation(blind, encode_sentence(blind, SENTENCES[0])).snapshot()
    with pytest.raises(SnapshotError, match="another run"):
        start_translation(model, encode_sentence(model, SENTENCES[0])).restore(saved)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_beam_of_one_takes_the_most_likely_tokens_and_a_wider_one_is_at_least_as_likely(model, sentence):
    shown = io.StringIO()
    greedy = translate(model, sentence, 1, 9, show=shown.write)
    assert greedy.tokens == oracle(model, sentence, 9)
    assert greedy.text == shown.getvalue()
    wide = translate(model, sentence, 8, 9)
    found = beam_search(start_translation(model, encode_sentence(model, sentence)), 8, 9, length_penalty=1.0)
    assert (wide.tokens, wide.score) == (found[0].tokens, found[0].score)
    assert wide.score >= greedy.score - 1e-6
    assert wide.to_json() == {
        "source": sentence,
        "text": wide.text,
        "tokens": len(wide.tokens),
        "score": wide.score,
    }


def test_a_translator_without_attention_translates_and_draws_nothing(blind, tmp_path):
    assert blind.contract["step"].conditions == ()
    assert translate(blind, SENTENCES[0], 1, 9).tokens == oracle(blind, SENTENCES[0], 9)
    with pytest.raises(StreamError, match="no attention"):
        draw_translation(blind, encode_sentence(blind, SENTENCES[0]), [7], tmp_path / "a.png")
    long = " ".join(["hund"] * 3 * TRANSLATOR_LONGEST)
    assert len(encode_sentence(blind, long)) == 3 * TRANSLATOR_LONGEST + 1


def test_the_alignment_is_drawn_darkest_where_the_weights_are_largest(model, tmp_path):
    ids = encode_sentence(model, SENTENCES[2])
    tokens = (7, 8, 10, 2)
    weights = alignment(model, ids, tokens)
    assert weights.shape == (4, 8)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    draw_translation(model, ids, tokens, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.array(picture.convert("L"))
    size, gap = 28, 8
    left, top = pixels.shape[1] - gap - 8 * size, pixels.shape[0] - gap - 4 * size
    levels = pixels[top + size // 2 :: size, left + size // 2 :: size][:4, :8]
    np.testing.assert_allclose(levels, 255 * (1 - weights), atol=1)


@pytest.mark.parametrize(
    ("sentence", "error", "message"),
    [
        ("", ConfigError, "the sentence is empty"),
        ("  \t", ConfigError, "the sentence is empty"),
        ("eine katze läuft", UnknownTokenError, "'eine', 'katze': is the sentence in the language"),
        ("hund " * TRANSLATOR_LONGEST, ConfigError, "has 12 tokens, and the model reads at most 11"),
    ],
)
def test_sentences_that_cannot_be_translated_are_refused(model, sentence, error, message):
    with pytest.raises(error, match=message):
        encode_sentence(model, sentence)
    if sentence.strip():
        with pytest.raises(error, match=message):
            SentenceReader(model).push(f"{sentence} ")
    else:
        reader = SentenceReader(model)
        reader.push(sentence)
        with pytest.raises(ConfigError, match="nothing to translate"):
            reader.begin()


def test_unknown_words_are_skipped_or_replaced(model):
    known = encode_sentence(model, "ein läuft")
    assert encode_sentence(model, "ein kater läuft", unknown="skip").tolist() == known.tolist()
    assert encode_sentence(model, "ein kater läuft", unknown="replace").tolist() == [3, 0, 5, 2]
    with pytest.raises(ConfigError, match="no character of the vocabulary"):
        encode_sentence(model, "kater", unknown="skip")


def test_inputs_that_do_not_fit_the_first_graph_are_refused(model):
    for inputs, message in (
        ({}, "begins with 'source'"),
        ({"source": np.array(3)}, "counts steps"),
        ({"source": np.zeros((0, 1), np.int64)}, "has read nothing yet"),
        ({"source": np.array([3, 4])}, "source has shape"),
        ({"source": np.array([[3], [11]])}, "source holds 11"),
        ({"source": np.array([[3]]), "x": np.array([1])}, "does not take 'x'"),
        ({"source": np.full((TRANSLATOR_LONGEST + 1, 1), 3)}, "with source from 1 to 12"),
    ):
        with pytest.raises(ContractError, match=message):
            model.begin(inputs)
    reading = model.reading("read")
    with pytest.raises(ContractError, match="source holds 12"):
        reading.push({"source": np.array([[3], [12]])})
    assert reading.steps == 0
    reading.push({"source": np.array([[3]])})
    with pytest.raises(ContractError, match="does not take 'source'"):
        model.stream(inputs={"source": np.array([[3]])}, readings=[reading])


def test_a_model_of_another_task_does_not_translate(conditioned):
    with pytest.raises(StreamError, match="it does not translate"):
        encode_sentence(Model.load(conditioned), "ein hund")


def test_the_pipeline_reads_a_file_and_a_text_alike(model, tmp_path):
    pipeline, options = pipeline_for(model), TranslateOptions(max_tokens=6)
    path = tmp_path / "sentence.txt"
    path.write_text("ein hund läuft\n", encoding="utf-8")
    results = [pipeline(each, options).to_json() for each in (pipeline.read(path), pipeline.read(path.read_bytes()))]
    assert results == [pipeline(pipeline.read_typed("ein hund läuft", options), options).to_json()] * 2
    assert results[0]["source"] == "ein hund läuft"


def run(bundle, *arguments, text=None):
    command = [sys.executable, "-m", "edgernn", "run", str(bundle), *arguments]
    given = None if text is None else text.encode()
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_lines_of_standard_input_are_translated_one_by_one(translator, model):
    status, out, err = run(translator, "--max-tokens", "6", text="ein hund läuft\n\nkatze\nhund")
    expected = [translate(model, sentence, max_tokens=6).text for sentence in ("ein hund läuft", "hund")]
    assert status == 2
    assert out.splitlines() == [expected[0], "", expected[1]]
    assert "line 3: the vocabulary has no 'katze'" in err
    assert "1 of 4 lines failed" in err
    status, out, err = run(translator, "--json", "--max-tokens", "6", text="ein hund läuft\n\n")
    first, second = map(json.loads, out.splitlines())
    assert (status, err) == (0, "")
    assert first["source"], first["text"] == ("ein hund läuft", expected[0])
    assert (second["source"], second["text"]) == ("", "")
    assert run(translator, text="")[::2] == (2, "edgernn: standard input is empty\n")


def test_the_command_translates_a_sentence_and_draws_its_alignment(translator, model, tmp_path):
    status, out, err = run(translator, "ein hund läuft", "--attention", str(tmp_path / "a.png"))
    assert (status, err) == (0, "")
    assert out.strip() == translate(model, "ein hund läuft").text
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
    status, _, err = run(translator, "ein hund läuft", "--attention", str(tmp_path / "a.txt"))
    assert status == 2
    assert "must end in" in err


def test_each_line_has_a_picture_of_its_own(translator, tmp_path):
    lines = ["ein hund läuft", "", "hund läuft", "hund"]
    status, out, err = run(translator, "--attention", str(tmp_path / "a.b.png"), text="\n".join(lines))
    assert (status, err, len(out.splitlines())) == (0, "", 4)
    assert sorted(each.name for each in tmp_path.glob("a*")) == ["a.b-3.png", "a.b-4.png", "a.b.png"]
    for line, name in ((lines[0], "a.b.png"), (lines[2], "a.b-3.png")):
        run(translator, line, "--attention", str(tmp_path / "one.png"))
        assert (tmp_path / name).read_bytes() == (tmp_path / "one.png").read_bytes()
    status, out, err = run(translator, "--attention", str(tmp_path / "a.txt"), text="hund\nein hund\n")
    assert (status, out, err.count("\n")) == (2, "", 1)
