"""Every kind of tokenizer, learned and lawful."""

from codecs import getincrementaldecoder
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgernn.bundle import TOKENIZER
from edgernn.data.vocabulary import TOKENIZERS, learn_tokenizer
from edgernn.engines.eager import eager_model
from edgernn.errors import ConfigError, UnknownTokenError
from edgernn.exporters import export
from edgernn.models import Source
from edgernn.runtime import Model, Sampler, beam_search, suggest
from edgernn.runtime.scoring import score
from edgernn.tasks import TASKS
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tokenizer import PIECE, Tokenizer, pieces
from edgernn.training import Run, Trainer

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ENGLISH = "The king is dead, long live the king!\n\n  \tHe said: 'naïve café' — 42 times…\n"


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=texts)
def test_what_it_learned_from_it_writes_and_reads_again(kind, text):
    tokenizer = learn_tokenizer(kind, [text + ENGLISH])
    for each in (text, ENGLISH, text + ENGLISH):
        if kind == "words" and tokenizer.unknown_id in tokenizer.encode(each, unknown="replace"):
            continue  # where two words meet there may be a third
        assert tokenizer.decode(tokenizer.encode(each)) == each
        assert Tokenizer.from_json(tokenizer.to_json()).encode(each).tolist() == tokenizer.encode(each).tolist()


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
@given(text=texts)
def test_no_text_is_unknown_to_bytes(kind, text):
    tokenizer = learn_tokenizer(kind, [ENGLISH])
    assert tokenizer.unknown_id is None
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bytes_are_numbered_by_their_value():
    tokenizer = learn_tokenizer("bytes", [])
    assert len(tokenizer) == 256
    assert tokenizer.encode("aé€\n").tolist() == list("aé€\n".encode())


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=texts, cut=st.integers(0, 200))
def test_a_stream_of_tokens_is_the_text_in_whole_characters(kind, text, cut):
    text = text.replace("\ufffd", "") + "é€🙂"
    tokenizer = learn_tokenizer(kind, [text + ENGLISH])
    ids = [int(token) for token in tokenizer.encode(text, unknown="replace")]
    if tokenizer.unknown_id in ids:
        return
    decoder = tokenizer.decoder()
    parts = [decoder.push(token) for token in ids[:cut]]
    decoder = tokenizer.decoder(decoder.tail)
    parts += [decoder.push(token) for token in ids[cut:]]
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_long_text_in_pieces_is_the_text_as_a_whole(kind):
    text = (ENGLISH * (3 * PIECE // len(ENGLISH)))[: 3 * PIECE - 7]
    assert "".join(pieces(text)) == text
    assert len(list(pieces(text))) >= 3
    tokenizer = learn_tokenizer(kind, pieces(text))
    whole = tokenizer._backend.encode(text).ids
    np.testing.assert_array_equal(tokenizer.encode(text, unknown="replace"), whole)


def test_a_text_without_a_place_to_cut_is_cut_all_the_same():
    assert [len(piece) for piece in pieces("x" * (2 * PIECE + 5))] == [PIECE, PIECE, 5]


def test_words_keep_the_most_frequent():
    tokenizer = learn_tokenizer("words", ["a a a a b b b b <unk> c"], vocabulary=3)
    assert len(tokenizer) == 3
    assert tokenizer.decode(tokenizer.encode(" a b a")) == " a b a"
    with pytest.raises(UnknownTokenError, match="no ' c', ' <', 'unk', '>'"):
        tokenizer.encode(" a c <unk> b")
    assert len(learn_tokenizer("bpe", [ENGLISH * 50], vocabulary=300)) == 300


def test_impossible_vocabularies_are_named():
    for kind, size, words in (
        ("runes", None, "--tokenizer runes is not one of characters, bytes, words, bpe"),
        ("characters", 9, "--vocabulary goes with --tokenizer words or bpe"),
        ("words", 1, "is below 2, the least that --tokenizer words takes"),
        ("bpe", 255, "--tokenizer bpe starts from the 256 bytes"),
    ):
        with pytest.raises(ConfigError, match=words):
            learn_tokenizer(kind, ["abc"], size)


@pytest.mark.parametrize("kind", ["bytes", "words", "bpe"])
def test_a_model_of_any_tokenizer_goes_the_whole_way(kind, tmp_path):
    (tmp_path / "t.txt").write_text(ENGLISH * 60)
    settings = {"embedding": 8, "hidden": 16, "layers": 1, "batch_size": 2, "bptt": 16, "steps": 30, "evaluations": 2}
    trainer = Trainer.begin(TASKS["language"], [str(tmp_path / "t.txt")], tmp_path / "run", tokenizer=kind, **settings)
    for _ in trainer.fit():
        pass
    source = Run.load(tmp_path / "run").source()
    device = Model.load(export(source, tmp_path / "bundle", steps=32).path)
    text = ENGLISH * 3
    expected, actual = score(eager_model(source), text), score(device, text)
    assert actual.nats == pytest.approx(expected.nats, rel=1e-5)
    assert actual.chars == expected.chars == len(text) - device.tokenizer.first_chars(text)
    assert actual.nats_per_char < actual.nats / actual.tokens or kind == "bytes"
    stream = device.stream(Sampler(seed=0))
    stream.prefill("The king")
    assert "<unk>" not in "".join(stream.decode(50))


def test_beams_and_suggestions_of_bytes_are_whole_characters(tmp_path):
    """A model that knows nothing, but for the two bytes of é, hears half characters at every turn."""
    torch.manual_seed(0)
    network = LanguageModel(LanguageConfig(256, embedding=4, hidden=8, layers=1)).eval()
    network.output.bias.data[list("éa ".encode())] += 6.0
    model = Model.load(
        export(Source(network, {TOKENIZER: learn_tokenizer("bytes", []).to_json().encode()}), tmp_path / "bytes").path
    )
    stream = model.stream()
    stream.prefill("é")
    found = beam_search(stream, width=16, max_tokens=3)
    assert len(found) == 16
    for candidate in found:
        with suppress(UnicodeDecodeError):
            assert candidate.text == getincrementaldecoder("utf-8")().decode(bytes(candidate.tokens))
    assert any(candidate.tokens[-1] == "é".encode()[0] and not candidate.text.endswith("\ufffd") for candidate in found)
    assert {len(candidate.tokens) for candidate in found} == {3}
    suggested = {each.text: each.probability for each in suggest(model, "é", 3, unit="token")}
    assert suggested.keys() == {"a", " ", "é"}
    pairs = {candidate.tokens: candidate.log_probability for candidate in beam_search(stream, width=16, max_tokens=2)}
    assert suggested["é"] == pytest.approx(np.exp(pairs[tuple("é".encode())]), rel=1e-4)
    assert all("\ufffd" not in each.text for each in suggest(model, "é", 5))
