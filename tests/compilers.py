"""The C compilers of this machine."""

import shutil
import subprocess
from pathlib import Path

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def compile_c(source: Path, out: Path, compiler: str, *flags: str) -> Path:
    """Compile one file. flags: after those that ask for C99 and all warnings, so that they can override them."""
    command = [compiler, *STRICT, *flags, str(source), "-o", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
    return out
