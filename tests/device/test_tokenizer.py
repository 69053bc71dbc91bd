import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ConfigError, TokenizerError, UnknownTokenError
from edgernn.tokenizer import PIECE, Tokenizer

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(texts)
def test_characters_round_trip(text):
    tokenizer = Tokenizer.characters(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert len(tokenizer) == len(set(text)) + 1
    assert tokenizer.decode(ids) == text
    assert Tokenizer.from_json(tokenizer.to_json()).encode(text).tolist() == ids.tolist()


@given(texts, st.integers(0, 80))
def test_text_in_a_stream_is_the_text(text, cut):
    tokenizer = Tokenizer.characters(text)
    ids = [int(token) for token in tokenizer.encode(text)]
    decoder = tokenizer.decoder()
    head = "".join(decoder.push(token) for token in ids[:cut])
    decoder = tokenizer.decoder(decoder.tail)
    tail = "".join(decoder.push(token) for token in ids[cut:])
    assert head + tail == text


def test_ids_are_in_the_order_of_code_points():
    tokenizer = Tokenizer.characters("ba\né")
    assert tokenizer.encode("\nabé").tolist() == [1, 2, 3, 4]


def test_unknown_characters_are_named():
    tokenizer = Tokenizer.characters("ab")
    with pytest.raises(UnknownTokenError, match=r"no 'é' \(U\+00E9\), '\\n' \(U\+000A\)"):
        tokenizer.encode("aé\nb")
    with pytest.raises(UnknownTokenError, match="and 2 more"):
        tokenizer.encode("0123456789")
    assert tokenizer.encode("aéb", unknown="replace").tolist() == [1, 0, 2]


def test_long_texts_are_encoded_in_pieces():
    text = "ab\n" * PIECE
    assert Tokenizer.characters("ab\n").encode(text).tolist() == [2, 3, 1] * PIECE


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(text):
    with pytest.raises(TokenizerError, match="the tokenizer cannot be read"):
        Tokenizer.from_json(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["model"]["vocab"].update(b=77), r"ids are not all the numbers from 0 to 2"),
        (lambda t: t["model"]["vocab"].pop("<unk>"), r"ids are not all the numbers from 0 to 1"),
        (
            lambda t: t.update(
                truncation={"max_length": 2, "stride": 5, "strategy": "LongestFirst", "direction": "Right"}
            ),
            "truncates or pads",
        ),
    ],
)
def test_a_tokenizer_that_would_change_texts_is_refused(change, words):
    record = json.loads(Tokenizer.characters("ab").to_json())
    change(record)
    with pytest.raises(TokenizerError, match=words):
        Tokenizer.from_json(json.dumps(record))


def test_whatever_the_library_raises_is_an_error_of_ours():
    record = json.loads(Tokenizer.characters("ab").to_json())
    record["model"]["vocab"] = {"a": 0, "b": 1}
    tokenizer = Tokenizer.from_json(json.dumps(record))
    with pytest.raises(TokenizerError, match="cannot write this text"):
        tokenizer.encode("abc")


def test_a_lone_surrogate_is_an_unknown_character():
    with pytest.raises(UnknownTokenError, match=r"'\\udce9' \(U\+DCE9\)"):
        Tokenizer.characters("ab").encode("a\udce9")


def test_unknown_characters_are_refused_skipped_or_replaced():
    tokenizer = Tokenizer.characters("ab")
    for text in ("a\U0001f600b", "a\ud83db", "aéb"):  # of the second, half of a character, a keyboard may know no more
        with pytest.raises(UnknownTokenError):
            tokenizer.encode(text)
        assert tokenizer.encode(text, unknown="skip").tolist() == [1, 2]
        assert tokenizer.encode(text, unknown="replace").tolist() == [1, 0, 2]
    with pytest.raises(ConfigError, match="unknown is one of refuse, skip, replace, not 'drop'"):
        tokenizer.encode("a", unknown="drop")
    assert repr(tokenizer) == "<Tokenizer WordLevel: 3 tokens, with <unk>>"
