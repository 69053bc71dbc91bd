import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import CorpusError
from edgernn.tokenizer import Tokenizer
from edgernn.training import load_corpus
from edgernn.training.lanes import Lanes, pack


def test_the_last_tenth_is_held_out(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "0123456789äbcdefghi\r\n".encode())
    corpus = load_corpus(str(path))
    assert (corpus.train, corpus.held_out) == ("0123456789äbcdefgh", "i\n")
    other = tmp_path / "h.txt"
    other.write_text("held")
    corpus = load_corpus(str(path), str(other))
    assert (len(corpus.train), corpus.held_out) == (20, "held")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"ab\0cd", "is not text: it has a zero byte at offset 2"),
        (b"ab\xff", "is not UTF-8: byte 2 is 0xff"),
        (b"abc", "3 characters are too few"),
    ],
)
def test_what_is_no_corpus_is_named(tmp_path, content, words):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=words):
        load_corpus(str(path))


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read: No such file"):
        load_corpus(str(tmp_path / "none"))
    with pytest.raises(CorpusError, match="cannot be read: Is a directory"):
        load_corpus(str(tmp_path))
    with pytest.raises(CorpusError, match=r"--held-out 1\.5 is neither"):
        load_corpus("stdlib", "1.5")


def test_the_standard_library_is_a_corpus():
    corpus = load_corpus("stdlib")
    assert len(corpus.train) == 9 * len(corpus.held_out) >= 1_000_000
    assert corpus.train.isascii()
    assert corpus.train.count("def ") > 1000
    assert load_corpus("stdlib").sha256 == corpus.sha256


@given(st.integers(20, 400), st.integers(1, 6), st.integers(1, 9), st.integers(0, 3))
def test_lanes_read_on_where_they_stopped(length, lanes, chunk, seed):
    tokens = pack(np.arange(length), length)
    reader = Lanes(tokens, lanes, chunk, seed)
    chunks = [each for each, _ in zip(reader.chunks(), range(2 * reader.chunks_per_pass), strict=False)]
    for number, each in enumerate(chunks):
        assert each.inputs.shape == each.targets.shape == (chunk, reader.lanes)
        np.testing.assert_array_equal(each.targets, (each.inputs + 1) % length)
        assert each.fresh.tolist() == [number % reader.chunks_per_pass == 0] * reader.lanes
        if not each.fresh.any():
            np.testing.assert_array_equal(each.inputs[0], chunks[number - 1].targets[-1])
    one_pass = np.concatenate([each.inputs for each in chunks[: reader.chunks_per_pass]])
    assert len(np.unique(one_pass)) == one_pass.size  # no token is read twice in a pass
    start = len(chunks) // 2
    again = next(reader.chunks(start))
    np.testing.assert_array_equal(again.inputs, chunks[start].inputs)


def test_a_text_shorter_than_one_chunk_is_refused():
    with pytest.raises(CorpusError, match=r"has 8 tokens, fewer than one chunk needs \(9\)"):
        Lanes(np.zeros(8, np.uint8), 1, 8, 0)
    assert Lanes(np.zeros(20, np.uint8), 4, 8, 0).lanes == 2


def test_tokens_are_packed_small():
    assert pack(np.arange(5), 256).dtype == np.uint8
    assert pack(np.arange(5), 257).dtype == np.uint16
    assert Tokenizer.characters("ab").encode("ab").dtype == np.int64


def test_lanes_start_afresh_now_and_then():
    reader = Lanes(np.zeros(100_001, np.uint8), 10, 10, 0, reset=0.1)
    fresh = np.array([each.fresh for each, _ in zip(reader.chunks(), range(1000), strict=False)])
    assert fresh[0].all()
    assert 0.08 < fresh[1:].mean() < 0.12
    np.testing.assert_array_equal(next(reader.chunks(700)).fresh, fresh[700])
