"""How texts are read: encodings, line breaks, byte order marks, and fields of JSON lines."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ConfigError, CorpusError
from edgernn.media.encodings import guess_encoding
from edgernn.media.text import TextFormat, as_read, read_pieces, read_text, remarks

SENTENCES = {
    "English": "To be, or not to be: that is the question.\n",
    "French": "Les élèves français ont été très étonnés: où êtes-vous allés, à Noël?\n",
    "German": "Die Grüße der Möwen über dem Fluß wären schön.\n",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.\n",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.\n",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве.\n",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.\n",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם\n",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة\n",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน\n",
    "Japanese": "すべての人間は、生まれながらにして自由であり、平等である。\n",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们应以兄弟关系相对待。\n",
    "Taiwanese": "人人生而自由，在尊嚴和權利上一律平等。他們應以兄弟關係相對待。\n",
}
WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
NARROW = {
    "French": ["latin-1", "cp1252", "mac-roman", "cp850"],
    "German": ["latin-1", "cp1252"],
    "Polish": ["cp1250", "iso8859-2"],
    "Turkish": ["cp1254"],
    "Russian": ["cp1251", "koi8-r", "cp866", "iso8859-5"],
    "Greek": ["cp1253"],
    "Hebrew": ["cp1255"],
    "Arabic": ["cp1256"],
    "Thai": ["cp874"],
    "Japanese": ["shift_jis", "euc_jp"],
    "Korean": ["euc_kr"],
    "Chinese": ["gbk", "gb18030"],
    "Taiwanese": ["big5"],
}
ENCODED = [(language, encoding) for language, encodings in NARROW.items() for encoding in encodings]
ENCODED += [(language, encoding) for language in ("English", "Russian", "Chinese") for encoding in WIDE]


def read(data, **format):
    return read_text(data, "t.txt", TextFormat(**format))


@pytest.mark.parametrize(("language", "encoding"), ENCODED)
def test_a_likely_encoding_reads_the_text(language, encoding):
    """What is named is named as likely, and taken as an option it reads the text."""
    text = SENTENCES[language] * 5
    data = text.encode(encoding)
    with pytest.raises(
        CorpusError, match=r"its encoding is likely (\S+), since .*: if so, add --encoding \1, which"
    ) as caught:
        read(data)
    likely = re.search(r"likely (\S+),", str(caught.value))[1]
    assert read(data, encoding=likely) == read(data, encoding=encoding) == text


@pytest.mark.parametrize(("language", "encoding"), ENCODED)
def test_a_text_in_blocks_is_the_text_in_any_encoding(language, encoding, monkeypatch):
    text = SENTENCES[language]
    for block in (4, 7):
        monkeypatch.setattr("edgernn.media.text._BLOCK", block)
        assert read(text.encode(encoding), encoding=encoding) == text


@pytest.mark.parametrize(
    "data",
    [b"a\0b" * 100, b"ab\0cd", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"ab\xff", bytes(range(256)) * 20, b"\0" * 100],
    ids=range(6),
)
def test_nothing_is_guessed_of_bytes_that_are_no_text(data):
    assert guess_encoding(data) is None
    with pytest.raises(CorpusError) as caught:
        read(data)
    assert "likely" not in str(caught.value)


def test_one_wrong_byte_in_utf_8_is_damage_and_no_encoding():
    words = "byte 40 is 0xff; most of its other characters beyond ASCII are UTF-8, so it is likely damaged there"
    with pytest.raises(CorpusError, match=words):
        read("é".encode() * 20 + b"\xff")


def test_utf_8_that_was_cut_within_a_character_is_damage():
    for language in ("French", "Russian", "Chinese"):
        data = (SENTENCES[language] * 5).encode()
        end = max(place for place in range(len(data)) if data[place] >= 0x80)
        with pytest.raises(CorpusError, match=r"is not UTF-8: byte \d+ is 0x.*, so it is likely damaged there"):
            read(data[:end])


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1 << 18])
@pytest.mark.parametrize(
    ("encoding", "data", "words"),
    [
        (None, b"\xef\xbb\xbfab\xff", "is not UTF-8: byte 5 is 0xff"),
        (None, b"ab\xc3", "is not UTF-8: byte 2 is 0xc3"),
        (None, b"ab\0", "is not text: it has a zero byte at offset 2"),
        ("cp1252", b"abc\x81", "is not cp1252: byte 3 is 0x81"),
        ("ascii", b"abc\xc3\xa9", "is not ascii: byte 3 is 0xc3"),
        ("shift_jis", "日本語".encode("shift_jis") + b"\xff\xff", "is not shift_jis: byte 6 is 0xff"),
        ("gbk", "中文".encode("gbk") + b"\xff\xff", "is not gbk: byte 4 is 0xff"),
        ("utf-16", b"\xff\xfea\0\0\xd8c\0", "is not UTF-16: byte 4 is 0x00"),
        ("utf-16-le", b"a\0b", "is not UTF-16-LE: byte 2 is 0x62"),
        ("utf-16", b"abcd", "cannot be read as utf-16: UTF-16 stream does not start with BOM"),
        ("latin-1", b"abc\0", r"read as iso8859-1, is not text: character 3 is U\+0000"),
        ("utf-7", b"ab+2AA-", r"read as utf-7, is not text: character 2 is U\+D800"),
    ],
)
def test_what_an_encoding_cannot_read_is_named_with_its_place(encoding, data, words, block, monkeypatch):
    monkeypatch.setattr("edgernn.media.text._BLOCK", block)
    with pytest.raises(CorpusError, match=f"^t.txt,? {words}"):
        read(data, encoding=encoding)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ("déjà vu".encode("cp1252"), "its encoding is likely cp1252, since .*: if so, convert it to UTF-8$"),
        (b"ab\xff", "is not UTF-8: byte 2 is 0xff; convert it to UTF-8$"),
    ],
)
def test_no_option_is_advised_where_there_is_none(data, advice):
    with pytest.raises(CorpusError, match=advice):
        read_text(data, "t.txt", None)


def test_a_text_that_is_utf_8_after_all_is_said_to_be():
    with pytest.raises(
        CorpusError, match="is not ascii: byte 0 is 0xc3; it can be read as UTF-8: leave out --encoding, which"
    ):
        read("é".encode(), encoding="ascii")
    (remark,) = remarks("été".encode(), "t.txt", TextFormat(encoding="cp1252"))
    assert (
        remark
        == "t.txt is read as cp1252; its beginning can be read as UTF-8 too: if it is UTF-8, leave out --encoding"
    )
    assert remarks("été".encode("cp1252"), "t.txt", TextFormat(encoding="cp1252")) == []
    assert remarks(b"pl\r\nain\r", "t.txt", TextFormat(encoding="cp1252")) == []


def test_a_file_in_another_encoding_than_the_one_given_may_have_to_be_converted():
    """Files of several encodings are not read together, whichever is given."""
    data = SENTENCES["French"].encode("utf-16")
    words = "its encoding is likely utf-16, .*: if so, convert it, or give --encoding utf-16, which then holds for"
    with pytest.raises(CorpusError, match=words):
        read(data, encoding="cp1252")


@pytest.mark.parametrize(
    ("language", "encoding"),
    [("Japanese", "iso2022_jp"), ("Korean", "iso2022_kr"), ("Chinese", "hz"), ("French", "utf-7"), ("English", "hz")],
)
def test_characters_that_are_spelt_in_ascii_are_read_without_a_doubt(language, encoding):
    """Read as UTF-8, what begins with an escape character is remarked upon."""
    data = SENTENCES[language].encode(encoding)
    assert remarks(data, "t.txt", TextFormat(encoding=encoding)) == []
    escaped = encoding.startswith("iso2022")
    words = f"t.txt is read as UTF-8; its encoding is likely {encoding}, since it has escape sequences that begin its"
    assert [remark.startswith(words) for remark in remarks(data, "t.txt")] == [True] * escaped


def test_plain_ascii_that_is_read_as_something_else_is_remarked_upon():
    for encoding in ("utf-16-le", "cp037"):
        (remark,) = remarks(b"To be or" * 2, "t.txt", TextFormat(encoding=encoding))
        assert remark.startswith(f"t.txt is read as {encoding}; its beginning can be read as UTF-8 too")
    assert remarks(b"\x1b[1mbold\x1b[0m\n", "t.txt") == []


def test_a_text_that_is_read_in_the_wrong_byte_order_is_remarked_upon():
    for order, other in (("le", "be"), ("be", "le")):
        data = SENTENCES["English"].encode(f"utf-16-{order}")
        (remark,) = remarks(data, "t.txt", TextFormat(encoding=f"utf-16-{other}"))
        assert remark.startswith(
            f"t.txt is read as utf-16-{other}; its encoding is likely utf-16-{order}, since it has"
        )
        assert remarks(data, "t.txt", TextFormat(encoding=f"utf-16-{order}")) == []
        assert remarks(SENTENCES["English"].encode("utf-16"), "t.txt", TextFormat(encoding="utf-16")) == []


@pytest.mark.parametrize(
    "name",
    ["rot13", "base64", "hex", "zlib", "idna", "punycode", "undefined", "unicode_escape", "none", "", "a\0b", "\udcff"],
)
def test_what_is_no_encoding_of_texts_is_refused(name):
    with pytest.raises(ConfigError, match=r"^--encoding .* is no encoding of texts that Python knows"):
        TextFormat(encoding=name)


@pytest.mark.parametrize("name", ["utf8", "UTF-8", "utf-8-sig", None])
def test_every_name_of_utf_8_is_the_default(name):
    assert TextFormat(encoding=name).codec == "utf-8"
    assert read(b"\xef\xbb\xbf\xc3\xa9", encoding=name) == "é"


def test_byte_order_marks_are_left_out_wherever_they_stand():
    marked = b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n"
    assert read(marked) == read(marked, encoding="cp1252") == as_read(marked.decode(), "it") == "one\ntwo\n"
    assert read("one\n".encode("utf-16") + "two\n".encode("utf-16"), encoding="utf-16") == "one\ntwo\n"
    assert read("\ufeffone".encode("utf-16-be"), encoding="utf-16-be") == "one"
    with pytest.raises(CorpusError, match=r"t\.txt is empty"):
        read(b"\xef\xbb\xbf")


@given(st.text(st.sampled_from("ab\r\n"), max_size=12), st.integers(1, 5))
def test_every_line_break_is_a_line_feed(text, block):
    expected = (text + ".").replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgernn.media.text._BLOCK", block)
        for encoding in ("utf-8", "utf-16-le", "cp1252"):
            assert read((text + ".").encode(encoding), encoding=encoding) == expected
    assert as_read(text + ".", "it") == expected
    assert read(json.dumps({"text": text + "."}).encode(), field="text") == expected


def test_a_text_that_is_typed_is_read_as_a_file_of_it():
    assert as_read("", "it") == ""
    assert as_read("\ufeffé\r\n", "it") == "é\n"
    assert as_read("é\n".encode().decode("ascii", "surrogateescape"), "it") == "é\n"  # where the locale is C
    for wrong, words in (
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "it is not UTF-8: byte 3 is 0xe9"),
        (b"\xc3\xa9\xff".decode("utf-8", "surrogateescape"), "it is not UTF-8: byte 2 is 0xff"),
        (b"\xc3\xa9\xff".decode("ascii", "surrogateescape"), "it is not UTF-8: byte 2 is 0xff"),
        ("é\ud800", r"it has half of a character, U\+D800, at character 1"),
        ("a\0", "it is not text: character 1 is a zero character"),
    ):
        with pytest.raises(CorpusError, match=words):
            as_read(wrong, "it")


@given(
    st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(b'{"text": "a"}\n')),
    st.sampled_from([None, *sorted({encoding for _, encoding in ENCODED}), "utf-7", "iso2022_jp", "hz", "cp037"]),
    st.sampled_from([None, "text"]),
    st.sampled_from([1, 3, 64]),
)
def test_any_bytes_are_read_or_refused_by_name(data, encoding, field, block):
    format = TextFormat(encoding=encoding, field=field)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgernn.media.text._BLOCK", block)
        with suppress(CorpusError):
            text = read_text(data, "t.txt", format)
            assert text.encode()
            assert not set("\0\r\ufeff") & set(text)
        assert all(remark.startswith("t.txt ") for remark in remarks(data, "t.txt", format))


# JSON lines

LINES = (
    b'{"id": 1, "text": "one\\r\\ntwo", "by": {"name": "Ann", "tags": []}, "a.b": "dotted"}\r\n'
    b"\n"
    b'{"id": 2, "text": "three\\n", "by": {"name": "Bob", "tags": ["x"]}, "a.b": "field"}\n'
    b'  {"text": "four", "by": {"name": "C\\u00e9"}, "a.b": "", "more": null}'
)


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_each_text_of_a_field_begins_on_a_line_of_its_own(block, monkeypatch):
    monkeypatch.setattr("edgernn.media.text._BLOCK", block)
    assert read(LINES, field="text") == "one\ntwo\nthree\nfour"
    assert read(LINES, field="by.name") == "Ann\nBob\nCé"
    assert read(LINES, field="a.b") == "dotted\nfield"
    utf_16 = LINES.decode().encode("utf-16")
    assert read(utf_16, field="text", encoding="utf-16") == "one\ntwo\nthree\nfour"


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (LINES, "body", r"line 1, has no field 'body'; it has id, text, by, a\.b"),
        (LINES, "id", "line 1: the field 'id' is 1, which is no text"),
        (LINES, "by", r"line 1: the field 'by' is an object; within it is name, tags: by\.NAME"),
        (LINES, "by.tags", r"line 1: the field 'by\.tags' is a list, which is no text"),
        (LINES, "by.age", r"line 1, has no field 'by\.age'"),
        (b'{"a": "x"}\n\n{"b": 1}', "a", "line 3, has no field 'a'; it has b"),
        (b'{"a": "x"}\n{"a": null}', "a", "line 2: the field 'a' is null, which is no text"),
        (b'{"a": "x"}\n{"a": true}', "a", "line 2: the field 'a' is true, which is no text"),
        (b'{"a": "x"}\n{}', "a", "line 2, has no field 'a'; it has none"),
        (b'{"a": "x"}\n{"a": \n', "a", "line 2, is no JSON object: Expecting value at character 5"),
        (b'{"a": "x"} {"a": "y"}\n', "a", "line 1, is no JSON object: Extra data at character 11"),
        (b"To be\nor not\n", "a", "line 1, is no JSON object: --field reads JSON lines; leave it out"),
        (b'{"a": "x"}\nnull\n', "a", "line 2, is no JSON object"),
        (b'[{"a": "x"}]', "a", "line 1, is a JSON array: --field reads JSON lines, so write each object on a line"),
        (b'[\n{"a": "x"}\n]', "a", "line 1, is a JSON array"),
        (b'{"a": "\\ud800"}', "a", r"line 1: the field 'a' has half of a character, U\+D800"),
        (b'{"a": "x\\u0000"}', "a", "line 1: the field 'a' is not text: character 1 is a zero character"),
        (b'{"a": ""}\n{"a": ""}\n', "a", "is empty: the field 'a' holds no text in any of its lines"),
        (b"", "a", "is empty"),
        (b'{"a": ' + b"[" * 100_000, "a", "line 1, cannot be read: its arrays or objects are nested too d"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a", "line 1, cannot be read: a number in it has thousands of digits"),
        (b'{"a": "x', "a", "line 1, is no JSON object: Unterminated string starting at character 6; --field reads an"),
    ],
)
def test_a_line_that_has_no_text_is_named(data, field, words, block, monkeypatch):
    monkeypatch.setattr("edgernn.media.text._BLOCK", block if len(data) < 1000 else 1 << 18)
    with pytest.raises(CorpusError, match=f"^t.txt,? {words}"):
        read(data, field=field)


def test_a_long_line_that_is_no_object_is_not_read_to_its_end():
    def endless():
        yield "[1"
        while True:
            yield ", 1" * 1000

    from edgernn.media.json_lines import field_texts

    with pytest.raises(CorpusError, match="is a JSON array"):
        next(field_texts(endless(), "a", "t", as_read))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            LINES,
            "t.txt looks like JSON lines, since .* --field takes the text of .* .there is id, text, by, a.b, more.$",
        ),
        (b'{"a": "x"}', "looks like JSON lines"),
        (b'[\n  {"a": "x"}\n]', "looks like a JSON array, since it begins with"),
        (b'{"a": "x"}\n{"a": \n', "looks like JSON lines"),
        (b'{"a": "x"}\nplain\ntext', None),
        (b'{\n  "a": "x"\n}', "looks like JSON, since it begins an object, .* if each object is on a line of its own$"),
        (b'{"a": "x"} {"a": "y"}', "looks like JSON, since it begins an object"),
        (b'{}\n{"a": "x"}\n{"b": "x"}', "looks like JSON lines, .* .there is a, b.$"),
        (b"{}\n{}\n", None),
        (b"{\n  a: 1\n}", None),
        (b"[1, 2]", None),
        (b"null\n", None),
        (b"To be", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_text_that_looks_like_json_is_remarked_upon(data, words):
    found = remarks(data, "t.txt")
    assert (words is None) == (found == [])
    assert words is None or re.search(words, *found)
    assert remarks(data, "t.txt", TextFormat(field="a")) == []


def test_a_beginning_that_is_cut_is_judged_by_its_whole_lines(monkeypatch):
    monkeypatch.setattr("edgernn.media.text._BLOCK", 30)
    assert "looks like JSON lines" in remarks(b'{"a": "x"}\n{"a": "y"}\n{"a": "z"}\n', "t.txt")[0]
    assert "looks like JSON, since it begins an object" in remarks(b'{"a": "' + b"x" * 40 + b'"}\n', "t.txt")[0]


def test_a_file_is_read_in_pieces(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("x" * 600_000)
    assert [len(piece) for piece in read_pieces(path)] == [262_144, 262_144, 75_712, 0]
