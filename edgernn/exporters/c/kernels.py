"""The sources of the kernels, each for every level of instructions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

__all__ = ["for_each_level", "helpers", "source", "with_parts"]

_PARTS = {  # files that kernels share
    "product_u8": ("add_u8", "dots", "tile_u8"),
    "product_u4": ("dots",),
    "products_u8": ("add_u8", "dots", "tile_u8", "block_u8"),
    "convolution_u8": ("add_u8", "dots", "tile_u8", "block_u8"),
    "depthwise_u8": ("add_u8", "taps_u8"),
    "products_f32": ("panel_f32",),
    "product_f16": ("widen_f16",),
    "products_f16": ("panel_f32", "widen_f16"),
}

_LEVELS = {"avx2": "NAME_AVX2 ", "vnni": "NAME_VNNI "}
_COMMENT = re.compile(r"\A/\*.*?\*/\n", re.DOTALL)  # at the beginning of a text
_FUNCTION = re.compile(r"NAME_(\w+)\(")


@cache
def source(name: str) -> str:
    """Return the text of a source file, or of a header if `name` ends in .h, in which names begin with NAME_."""
    file = name if name.endswith(".h") else f"{name}.c"
    return files("edgernn.exporters.c").joinpath("sources", file).read_text(encoding="utf-8")


def with_parts(names: Iterable[str]) -> list[str]:
    """Return the names of the files that contain these kernels and what they share, each once."""
    return list(dict.fromkeys(file for name in names for file in (*_PARTS.get(name, ()), name)))


def for_each_level(text: str) -> str:
    """Return functions once for each level of instructions of x86, if their names end in _LEVEL."""
    if "_LEVEL" not in text:
        return text
    base = text.replace("_LEVEL", "_base").replace("NAME_TARGET ", "")
    bare = _COMMENT.sub("", text)
    others = [bare.replace("_LEVEL", f"_{level}").replace("NAME_TARGET ", mark) for level, mark in _LEVELS.items()]
    return "\n".join([base, "#if defined(NAME_X86)", *others, "#endif\n"])


def helpers(texts: Iterable[str]) -> str:
    """Return the functions of elements.c that these texts call, and those that they call in turn."""
    blocks = source("elements").split("\n\n")
    names = [next(iter(_FUNCTION.findall(block.split("\n{")[0]))) for block in blocks]
    wanted = {name for text in texts for name in _FUNCTION.findall(text)}
    for name, block in zip(reversed(names), reversed(blocks), strict=True):
        if name in wanted:
            wanted.update(_FUNCTION.findall(block))
    return "\n\n".join(block.strip() for name, block in zip(names, blocks, strict=True) if name in wanted)
