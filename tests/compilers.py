"""The C compilers of this machine, and C source to test them with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from edgernn.exporters.c import kernels

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
KERNELS = ("product_f32", "product_u8", "product_u4", "round_blocks", "row_u4")
SOURCES = Path(__file__).with_name("c")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
NEEDS_COMPILER = pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")


def compile_c(source: Path, out: Path, compiler: str, *flags: str) -> Path:
    """Compile one file. flags: after those that ask for C99 and all warnings, so that they can override them."""
    command = [compiler, *STRICT, *flags, str(source), "-o", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
    return out


def kernel_source(name: str, *more: str) -> str:
    """Return all kernels, with functions to call them.

    name: the prefix of names, in capitals. more: files of tests/c to add.
    """
    texts = [
        kernels.for_each_level(text) for text in (*map(kernels.source, kernels.with_parts(KERNELS)), _read("loop"))
    ]
    head = f"#include <stdint.h>\n#include <string.h>\nint {name}_level(void);"
    parts = [kernels.source("base"), kernels.helpers(texts), *texts, kernels.source("levels")]
    return "\n".join([head, *parts, *map(_read, ("entries", *more))]).replace("NAME", name)


def _read(name: str) -> str:
    return (SOURCES / f"{name}.c").read_text(encoding="utf-8")
