"""Guess the encoding of a text that is not UTF-8 from its bytes.

A guess is only shown to the user, never acted upon.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from edgernn.errors import ConfigError

__all__ = ["Guess", "canonical", "guess_encoding", "guess_escaped"]

_SAMPLE = 1 << 16  # bytes of the text that are examined
_RUN = 2  # with runs of non-ASCII bytes longer than this on average, a text is not in the Latin script
_FITS = 0.7  # the lowest score of a guess
_WIDE_FITS = 0.4  # the lowest fraction of frequent characters in a UTF-16 or UTF-32 text
_WIDE_ZEROS = 2  # the lowest number of zero bytes in a UTF-16 or UTF-32 text
_PRINTABLE = 0.98  # the lowest fraction of printable characters in such a text
_NO_TEXTS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}

_MARKS = (  # UTF-32 comes first, since its marks begin with those of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_ESCAPES = (
    (re.compile(rb"\x1b\$[@B]"), "iso2022_jp"),
    (re.compile(rb"\x1b\$\)C"), "iso2022_kr"),
)

_WESTERN = "éèàçêôâîûùëïüäößáíóúñåøæãõœÉÀÄÖÜ’‘“”–—…«»°€£§·¿¡"
_SPACE = "\xa0"  # between a number and its unit
_CENTRAL = "ąćęłńóśźżáčďéěíňřšťúůýžäöüőűôľŁŚŻČŠŽŘ„”–’"
_TURKISH = "ığşçöüİŞĞÇÖÜâî’“”"
_RUSSIAN = "оеаинтсрвлкмдпуяыьзбгчйхжюшцщэф"
_GREEK = "αοιετσνρηυπκμλςίόάέήωδγχύθφβ"
_HEBREW = "יוהלאבתמרשנעםדקחגצפטכסזןךףץ"
_ARABIC = "اليمونرتبةعدسفهكقحجشطصخذضغظثزءأإآىئؤ،"
_THAI = "านรอเกงมยลวดีทสตะัปบิคห่แ้จพชขใไ็ผโูุ์ำืถึศ"
_JAPANESE = "のにはをたがでてとしれさいるあらもなかりこくうきまそんどつよっけめえみアイウスタトラリルレロンー、。"
_KOREAN = "이다는에의가을고하지로한기사은도를어자시그나대서아리일인수해과있정부보여스전라제들것"
_HAN = (
    "的一是不了在人有我他中上大和地到以就出可也你生能而子那得下自之年作，。、：；？！"
    "今天很好多小心事如成日本月回文手水果名新家力行所然法同面定分高民主意理全已最此者何美部"
)
_SIMPLIFIED = _HAN + "这个们来为国说时要会对于着过发后里么见开没还样经学气动间问无长实现点从两义机"
_TRADITIONAL = _HAN + "這個們來為國說時要會對於著過發後裡麼見開沒還樣經學氣動間問無長實現點從兩義機「」"

# Codec, languages, their frequent characters, and the usual fraction of these among non-ASCII characters. In
# `_ALPHABETS`, frequent characters are in order of frequency and weighted by rank; the last value is the usual mean
# weight. Of codecs with equal scores the first one wins.
_LATIN = (
    ("cp1252", "Western European languages, as in Latin-1", _WESTERN + _SPACE, 1.0),
    ("cp1250", "Central European languages", _CENTRAL, 1.0),
    ("iso8859-2", "Central European languages", _CENTRAL, 1.0),
    ("cp1254", "Turkish", _TURKISH, 1.0),
    ("mac-roman", "Western European languages", _WESTERN, 1.0),
    ("cp850", "Western European languages", _WESTERN, 1.0),
)
_ALPHABETS = (
    ("cp1251", "Russian", _RUSSIAN, 0.65),
    ("koi8-r", "Russian", _RUSSIAN, 0.65),
    ("cp866", "Russian", _RUSSIAN, 0.65),
    ("iso8859-5", "Russian", _RUSSIAN, 0.65),
    ("mac-cyrillic", "Russian", _RUSSIAN, 0.65),
    ("cp1253", "Greek", _GREEK, 0.65),
    ("cp1255", "Hebrew", _HEBREW, 0.65),
    ("cp1256", "Arabic", _ARABIC, 0.65),
    ("cp874", "Thai", _THAI, 0.65),
)
_EASTERN = (
    ("shift_jis", "Japanese", _JAPANESE, 0.4),
    ("cp932", "Japanese", _JAPANESE, 0.4),
    ("euc_jp", "Japanese", _JAPANESE, 0.4),
    ("euc_kr", "Korean", _KOREAN, 0.35),
    ("cp949", "Korean", _KOREAN, 0.35),
    ("gbk", "Chinese", _SIMPLIFIED, 0.25),
    ("gb18030", "Chinese", _SIMPLIFIED, 0.25),
    ("big5", "Chinese", _TRADITIONAL, 0.25),
    ("cp950", "Chinese", _TRADITIONAL, 0.25),
)
_ANY = frozenset().union(*(frequent for _, _, frequent, _ in (*_LATIN, *_ALPHABETS, *_EASTERN)))


class Guess(NamedTuple):
    """A likely encoding, by its name in Python. reason: why, as a clause such as "it begins with a byte order mark"."""

    encoding: str
    reason: str

    @property
    def wide(self) -> bool:
        """Whether a character takes two or four bytes. Such a guess is more certain than any other."""
        return self.encoding.startswith(("utf-16", "utf-32"))


def canonical(encoding: str) -> str:
    """Return the canonical name of a text codec. Raises ConfigError if it does not exist or does not encode text."""
    try:
        name = codecs.lookup(encoding).name
        if name in _NO_TEXTS:
            raise LookupError
        b"a".decode(name)  # a codec from bytes to bytes raises LookupError
    except UnicodeDecodeError:
        return name  # UTF-16 and similar codecs, which cannot decode a single byte
    except (LookupError, ValueError):
        raise ConfigError(
            f"--encoding {encoding[:40]!r} is no encoding of texts that Python knows; "
            "examples are utf-16, latin-1, cp1252, shift_jis and gbk"
        ) from None
    return name


def guess_encoding(data: bytes, *, begins: bool = True) -> Guess | None:
    """Return the likely encoding of `data`, which is not UTF-8, or None without evidence for any.

    begins: whether `data` is the beginning of a text, where a byte order mark would stand.
    """
    for mark, encoding in _MARKS if begins else ():
        if data.startswith(mark):
            return Guess(encoding, f"it begins with the byte order mark of {encoding.upper()}")
    if 0 in data:
        return _wide(data[:_SAMPLE])
    if _damaged(data):
        return Guess("utf-8", "most of its other characters beyond ASCII are UTF-8")
    return _narrow(data)


def guess_escaped(data: bytes) -> Guess | None:
    """Return the likely encoding of an ASCII text with escape sequences, which is valid UTF-8 too; None without any."""
    for escape, encoding in _ESCAPES if data.isascii() else ():
        if escape.search(data):
            return Guess(encoding, "it has escape sequences that begin its characters")
    return None


def _wide(sample: bytes) -> Guess | None:
    """Recognise UTF-16 or UTF-32 without a byte order mark by zero bytes, which most such texts have."""
    if sample.count(0) < _WIDE_ZEROS:
        return None
    best, found = _WIDE_FITS, None
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        text = _decoded(sample, encoding)
        common = sum(" " <= character <= "~" or character.isspace() or character in _ANY for character in text)
        if _is_text(text) and common > best * len(text):
            reason = "it has zero bytes, and is made of printable and mostly frequent characters if it is read so"
            best, found = common / len(text), Guess(encoding, reason)
    return found


def _narrow(data: bytes) -> Guess | None:
    """Return the legacy encoding in which most non-ASCII characters are frequent ones of the encoding's languages."""
    beyond = re.search(rb"[\x80-\xff]", data)
    if beyond is None:
        return None
    start = data.rfind(b"\n", 0, beyond.start()) + 1  # a line does not begin within a character
    sample = data[start : start + _SAMPLE]
    runs = re.findall(rb"[\x80-\xff]+", sample)
    latin = sum(map(len, runs)) / max(1, len(runs)) < _RUN
    tables = ((_LATIN, _share),) if latin else ((_ALPHABETS, _mean_weight), (_EASTERN, _share))
    best, found = _FITS, None
    for table, measure in tables:
        for encoding, languages, frequent, usual in table:
            score = measure(_decoded(sample, encoding), frequent) / usual
            if score > best:
                reason = f"its characters beyond ASCII, read so, are the frequent ones of {languages}"
                best, found = score, Guess(encoding, reason)
    return found


def _damaged(data: bytes) -> bool:
    """Return whether far more non-ASCII characters are valid UTF-8 than are not."""
    text = data.decode("utf-8", "surrogateescape")
    wrong = len(re.findall("[\udc80-\udcff]", text))
    return len(re.findall("[^\0-\x7f]", text)) - wrong > 4 * wrong


def _decoded(sample: bytes, encoding: str) -> str:
    """Decode a sample, which may end within a character; return "" if that fails."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return ""


def _is_text(text: str) -> bool:
    """Return whether almost all of `text` is printable."""
    unprintable = sum(unicodedata.category(c)[0] == "C" and not c.isspace() and c != "\ufeff" for c in text)
    return bool(text) and "\0" not in text and unprintable <= (1 - _PRINTABLE) * len(text)


def _share(text: str, frequent: str) -> float:
    """Return the fraction of the non-ASCII characters that are `frequent`."""
    return _mean(text, dict.fromkeys(frequent, 1.0))


def _mean_weight(text: str, ranked: str) -> float:
    """Return the mean weight of the non-ASCII characters: from 1 for the first of `ranked` down to 0 for all others."""
    return _mean(text, {character: 1 - place / len(ranked) for place, character in enumerate(ranked)})


def _mean(text: str, weights: Mapping[str, float]) -> float:
    beyond = [weights.get(character, 0.0) for character in text if character > "\x7f"]
    return sum(beyond) / max(1, len(beyond))
