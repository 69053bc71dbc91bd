import hashlib
import http.server
import io
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.data.corpus import CorpusRecord, open_corpus
from edgernn.data.downloads import TEXTS, PublicText, cached_text
from edgernn.data.tokens import TokenFile
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.errors import ConfigError, CorpusError, FormatError
from edgernn.media.text import TextFormat, read_pieces, read_text


def parts(*sources, **options):
    with open_corpus([str(source) for source in sources], **options) as corpus:
        return "".join(corpus.train()), "".join(corpus.held_out())


def test_the_last_tenth_is_held_out(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "0123456789äbcdefghi\r\n".encode())
    assert parts(path) == ("0123456789äbcdefgh", "i\n")
    (tmp_path / "h.txt").write_text("held")
    assert parts(path, held_out=str(tmp_path / "h.txt")) == ("0123456789äbcdefghi\n", "held")
    assert parts(path, held_out="0.5") == ("0123456789", "äbcdefghi\n")


def test_several_sources_are_one_text(tmp_path, monkeypatch):
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name, text in (("d/b.txt", "bb"), ("d/a.txt", "aa\n"), ("d/e/c.txt", "cc"), ("d/x.md", "xx"), ("f", "ff")):
        (tmp_path / name).write_text(text)
    assert "".join(parts(tmp_path / "d", tmp_path / "f")) == "aa\nbb\ncc\nff"
    (tmp_path / "d" / "x.md").write_text("# x\ny\n")
    assert "".join(parts(tmp_path / "d", glob="*.md", held_out="0.5")) == "# x\ny\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert "".join(parts("-", tmp_path / "f")) == "from a pipe\nff"
    with pytest.raises(CorpusError, match=r"d has no files that match \*\.py"):
        parts(tmp_path / "d", glob="*.py")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"ab\0cd", "is not text: it has a zero byte at offset 2"),
        (b"ab\xff", "is not UTF-8: byte 2 is 0xff"),
        (b"ab\xc3", "is not UTF-8: byte 2 is 0xc3"),
        (b"x" * 300_000 + b"\xff", "is not UTF-8: byte 300000 is 0xff"),
        (b"x" * 300_000 + b"\0", "a zero byte at offset 300000"),
        (b"abc", "3 characters, too few"),
    ],
)
def test_what_is_no_corpus_is_named(tmp_path, content, words):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=words):
        parts(path)


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read: No such file"):
        parts(tmp_path / "none")
    with pytest.raises(CorpusError, match=r"has no files that match \*\.txt"):
        parts(tmp_path)
    with pytest.raises(CorpusError, match=r"--held-out 1\.5 is neither"):
        parts("stdlib", held_out="1.5")


def test_every_file_of_a_corpus_is_read_in_one_format(tmp_path, monkeypatch):
    for name, text in (("d/a.txt", "é\r\n"), ("d/b.txt", "ü"), ("held", "ö")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode("utf-16"))
    utf_16 = TextFormat(encoding="utf-16")
    assert parts(tmp_path / "d", held_out=str(tmp_path / "held"), format=utf_16) == ("é\nü", "ö")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("naïve".encode("utf-16"))))
    assert "".join(parts("-", tmp_path / "d", held_out="0.5", format=utf_16)) == "naïve\né\nü"
    (tmp_path / "d" / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(CorpusError, match=r"b\.txt cannot be read as utf-16: .*; its encoding is likely cp1252"):
        parts(tmp_path / "d", format=utf_16)
    (tmp_path / "d" / "a.txt").write_text("é" * 9, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"b\.txt is not UTF-8: byte 3 is 0xe9; its encoding is likely cp1252"):
        parts(tmp_path / "d")


def test_json_lines_of_a_directory_are_a_corpus(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "three", "n": 3}\n')
    (tmp_path / "c.txt").write_text("not read")
    field = TextFormat(field="text")
    assert "".join(parts(tmp_path, format=field)) == "one\ntwo\nthree"
    assert "".join(parts(tmp_path / "b.jsonl", held_out="0.5", format=field)) == "three"
    with pytest.raises(CorpusError, match=r"c\.txt, line 1, is no JSON object"):
        parts(tmp_path, glob="*.txt", format=field)
    (tmp_path / "c.txt").unlink()
    with pytest.raises(CorpusError, match=r"has no files that match \*\.txt; it has \*\.jsonl: choose others with"):
        parts(tmp_path)


def test_what_files_suggest_is_noted_for_the_first_of_them(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text('{"text": "one"}\n')
    with open_corpus([str(tmp_path)]) as corpus:
        assert len(corpus.notes) == 3
        assert all(f"{number}.txt looks like JSON lines" in note for number, note in enumerate(corpus.notes))
    with open_corpus([str(tmp_path)], glob="*.txt", format=TextFormat(field="text")) as corpus:
        assert corpus.notes == []


def test_a_format_is_of_files(tmp_path):
    for format, words in (
        (TextFormat(encoding="cp1252"), "--encoding says how files .* are read, and stdlib is neither: leave it out"),
        (TextFormat(encoding="cp1252", field="a"), "--encoding and --field say how .* leave them out"),
    ):
        with pytest.raises(ConfigError, match=words):
            parts("stdlib", format=format)
    (tmp_path / "t.txt").write_bytes("été".encode("cp1252"))
    train, held_out = parts("stdlib", held_out=str(tmp_path / "t.txt"), format=TextFormat(encoding="cp1252"))
    assert (train, held_out) == ("".join(parts("stdlib")), "été")


@given(st.text(st.sampled_from("aé€🙂\r\n"), max_size=40), st.integers(1, 7))
def test_a_file_in_blocks_is_the_file(tmp_path_factory, text, block):
    path = tmp_path_factory.mktemp("t") / "t.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b".")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgernn.media.text._BLOCK", block)
        assert "".join(read_pieces(path)) == (text + ".").replace("\r\n", "\n").replace("\r", "\n")


def test_the_standard_library_is_a_corpus():
    train, held_out = parts("stdlib")
    assert len(train) == 9 * len(held_out) >= 1_000_000
    assert train.isascii()
    assert train.count("def ") > 1000
    assert parts("stdlib") == (train, held_out)


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_what_is_encoded_is_the_text(tmp_path, kind):
    text = "The king is dead, long live the king!\n  'naïve' 42\n" * 3000
    (tmp_path / "t.txt").write_text(text)
    with open_corpus([str(tmp_path / "t.txt")]) as corpus:
        tokenizer = learn_tokenizer(kind, corpus.train())
        record = corpus.encode(tokenizer, tmp_path / "train", tmp_path / "held")
        train, held_out = "".join(corpus.train()), "".join(corpus.held_out())
    assert train + held_out == text
    for part, name in ((train, "train"), (held_out, "held")):
        tokens = TokenFile(tmp_path / name, len(tokenizer))
        np.testing.assert_array_equal(tokens.read(0, len(tokens)), tokenizer._backend.encode(part).ids)
    assert (record.train_chars, record.held_out_chars) == (len(train), len(held_out))
    assert record.predicted_chars == len(held_out) - tokenizer.first_chars(held_out)
    assert record.sha256 == hashlib.sha256(f"{train}\0{held_out}".encode()).hexdigest()
    assert record.name == "t.txt"


def test_a_token_file_is_a_ring(tmp_path):
    for vocabulary, size in ((256, 1), (257, 2), (70_000, 4)):
        ids = np.random.default_rng(0).integers(0, vocabulary, 1000)
        with TokenFile.writer(tmp_path / "t", vocabulary) as write:
            write(ids[:300])
            write(ids[300:])
        tokens = TokenFile(tmp_path / "t", vocabulary)
        assert (tmp_path / "t").stat().st_size == size * len(tokens) == size * 1000
        for start, count in ((0, 1000), (990, 20), (1995, 2100), (5, 0)):
            expected = np.take(ids, np.arange(start, start + count), mode="wrap")
            np.testing.assert_array_equal(tokens.read(start, count), expected)
    (tmp_path / "t").write_bytes(b"abc")
    with pytest.raises(CorpusError, match="has 3 bytes, which is no number of tokens: train again"):
        TokenFile(tmp_path / "t", 257)
    (tmp_path / "t").write_bytes(b"\xff\xff")
    with pytest.raises(CorpusError, match="holds 65535, which is outside the vocabulary: train again"):
        TokenFile(tmp_path / "t", 257).read(0, 1)


def test_a_record_that_lies_is_named(tmp_path):
    (tmp_path / "t.txt").write_text("abc" * 100)
    with open_corpus([str(tmp_path / "t.txt")]) as corpus:
        record = corpus.encode(learn_tokenizer("characters", corpus.train()), tmp_path / "train", tmp_path / "held")
    values = asdict(record)
    assert CorpusRecord.from_json(values) == record
    assert (record.train_tokens, record.held_out_tokens) == (270, 30)
    for change, words in (
        ({"name": 3}, "name: '3' is not a string"),
        ({"train_chars": -1}, "train_chars: -1"),
        ({"predicted_chars": 0}, "predicts 0 of 30 characters"),
        ({"predicted_chars": 31}, "predicts 31 of 30 characters"),
        ({"mood": "good"}, "unknown 'mood'"),
    ):
        with pytest.raises(FormatError, match=words):
            CorpusRecord.from_json({**values, **change})
    with pytest.raises(CorpusError, match="has 30 tokens, not 31: it was cut or changed"):
        record.open(tmp_path / "held", 4, 31)
    with pytest.raises(CorpusError, match="held cannot be read: No such file"):
        record.open(tmp_path / "none" / "held", 4, 31)


PREPARE = """
import sys
from pathlib import Path
from edgernn.data.corpus import open_corpus
from edgernn.tasks.language.data import TokenBatches
from edgernn.data.tokens import TokenFile
from edgernn.data.vocabulary import learn_tokenizer
folder = Path(sys.argv[1])
for megabytes in (1, 10):
    line = b"In the beginning was the Word, and the Word was written down in small letters.\\n"
    (folder / "t.txt").write_bytes(line * (megabytes * 1_000_000 // len(line)))
    with open_corpus([str(folder / "t.txt")]) as corpus:
        tokenizer = learn_tokenizer("characters", corpus.train())
        corpus.encode(tokenizer, folder / "train", folder / "held")
    batches = TokenBatches(TokenFile(folder / "train", len(tokenizer)), 32, 128, 0)
    for number in range(batches.per_pass):
        batches.read(number)
    (peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_text(tmp_path):
    """Peak resident MiB of reading, encoding and one pass over 1 MB and then 10 MB of text."""
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    peaks = [int(line) for line in done.stdout.split()]
    assert peaks[1] < peaks[0] + 10, peaks


@pytest.fixture
def server(tmp_path):
    """A local server of one text, which counts how often it is asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path == "/text" else 404)
            self.end_headers()
            self.wfile.write(b"to be or not to be\n")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_public_text_is_downloaded_once(server, tmp_path, monkeypatch):
    url, asked = server
    digest = hashlib.sha256(b"to be or not to be\n").hexdigest()
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(TEXTS, "hamlet", PublicText(f"{url}/text", digest))
    assert "".join(parts("hamlet")) == "".join(parts("hamlet")) == "to be or not to be\n"
    assert asked == ["/text"]
    (tmp_path / "cache" / "hamlet.txt").write_text("to sleep")  # damaged: it is fetched again
    assert read_text(cached_text("hamlet")) == "to be or not to be\n"
    assert asked == ["/text"] * 2


def test_a_public_text_that_cannot_be_had_is_named(server, tmp_path, monkeypatch):
    url, _ = server
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    for address, words in (
        (f"{url}/text", "has changed: its SHA-256 is"),
        (f"{url}/none", "cannot be downloaded from .*: Not Found; give the text as a file"),
        ("http://127.0.0.1:9/x", "cannot be downloaded from .*refused"),
    ):
        monkeypatch.setitem(TEXTS, "hamlet", PublicText(address, "0" * 64))
        with pytest.raises(CorpusError, match=words):
            cached_text("hamlet")
    assert not list(tmp_path.rglob("*.txt"))
