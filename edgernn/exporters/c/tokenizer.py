"""The vocabulary of a tokenizer as C source code, in which NAME stands for the name of the bundle, as in `sources/`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate
from textwrap import fill
from typing import Any

from edgernn.tokenizer import END, START, UNKNOWN, Tokenizer, byte_signs

__all__ = ["definitions", "tables"]

_SPECIAL = (UNKNOWN, START, END)
_SMALL = 1 << 16


def definitions(tokenizer: Tokenizer, history: int) -> str:
    """Return the constants of NAME.h that its texts need.

    history: how many tokens a sampler can look back, at least 1.
    """
    special = {"UNKNOWN": tokenizer.unknown_id, "START": tokenizer.start_id, "END": tokenizer.end_id}
    constants = {"VOCABULARY": str(len(tokenizer)), "HISTORY": str(history)}
    constants |= {name: "(-1)" if token is None else str(token) for name, token in special.items()}
    return "".join(f"#define NAME_{name} {value}\n" for name, value in constants.items())


def tables(tokenizer: Tokenizer) -> str | None:
    """Return the tables that `sources/tokenizer.c` reads; None for a vocabulary of anything but characters or bytes."""
    record = json.loads(tokenizer.to_json())
    texts = _characters(record) or _bytes(record)
    if texts is None:
        return None
    special = [name.encode() for name in _SPECIAL]
    in_order = sorted((token for token in range(len(texts)) if texts[token] not in special), key=texts.__getitem__)
    starts = [*accumulate(map(len, texts), initial=0)]
    if not in_order:
        return None
    return "\n".join(
        (
            "/* The texts of all tokens, one after another. */",
            _array("unsigned char", "token_texts", b"".join(texts)),
            "/* Where each of them begins, and the end of the last. */",
            _array(_smallest(starts), "token_starts", starts),
            "/* The tokens of which texts are made, in the order of their bytes. */",
            _array(_smallest(in_order), "tokens_in_order", in_order),
        )
    )


def _characters(record: dict[str, Any]) -> list[bytes] | None:
    """Return the text of each token of a tokenizer that splits texts into single characters."""
    vocabulary = record["model"].get("vocab")
    empty = json.loads(Tokenizer.characters(()).to_json())
    empty["model"]["vocab"] = vocabulary
    if record != empty or any(len(text) != 1 for text in vocabulary if text not in _SPECIAL):
        return None
    return [text.encode() for text in sorted(vocabulary, key=vocabulary.__getitem__)]


def _bytes(record: dict[str, Any]) -> list[bytes] | None:
    """Return the byte of each token of a tokenizer that splits texts into the bytes of UTF-8."""
    model, splitter, decoder = (record[part] or {} for part in ("model", "pre_tokenizer", "decoder"))
    kinds = [part.get("type") for part in (model, splitter, decoder)]
    plain = not any(record[part] for part in ("added_tokens", "normalizer", "post_processor"))
    if kinds != ["BPE", "ByteLevel", "ByteLevel"] or not plain or splitter["add_prefix_space"] or model["merges"]:
        return None
    values = {sign: bytes([value]) for value, sign in enumerate(byte_signs())}
    vocabulary = model["vocab"]
    if vocabulary.keys() != values.keys():
        return None
    return [values[sign] for sign in sorted(vocabulary, key=vocabulary.__getitem__)]


def _smallest(numbers: Iterable[int]) -> str:
    return "uint16_t" if max(numbers) < _SMALL else "int32_t"


def _array(kind: str, name: str, values: Iterable[int]) -> str:
    numbers = [str(value) for value in values]
    lines = fill(", ".join(numbers), 116, initial_indent="    ", subsequent_indent="    ")
    return f"static const {kind} {name}[{len(numbers)}] = {{\n{lines}\n}};\n"
