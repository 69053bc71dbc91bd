"""The C target on other processors: the same bits everywhere, by cross compilers and emulators."""

import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from compilers import compile_c, kernel_source

from edgernn.exporters.c.folding import fold
from edgernn.exporters.c.operators import lower
from edgernn.exporters.c.source import write
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.targets.onnx import write_both
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig

pytestmark = pytest.mark.cross

HERE = Path(__file__).parent
PRECISIONS = ("fp32", "int8", "int4")
MODEL = LanguageConfig(vocabulary=67, embedding=44, hidden=72, layers=2)  # no multiples of what kernels compute at once
PORTABLE = tuple(f"-D{name.upper()}_PORTABLE" for name in ("kernels", *PRECISIONS))
FUSED = "-std=gnu11"  # lets compilers contract products and sums, where the source does not forbid it
MEMORY = {"flash": 0, "flash_size": 0x400000, "ram": 0x20000000, "ram_size": 0x400000, "stack_size": 0x1000}
MEMORY_MAP = ",".join(["-Wl", *(f"--defsym=__{name}={value}" for name, value in MEMORY.items())])
MCU = ("--specs=picolibc.specs", "--oslib=semihost", "--crt0=hosted", MEMORY_MAP, "-mthumb")
BOARD = ("qemu-system-arm", "-nographic", "-semihosting")
WASM = ("--target=wasm32", "-O3", "-mbulk-memory", "-fno-builtin", f"-I{HERE / 'wasm'}")
EXPORTS = ("-nostdlib", "-Wl,--no-entry,--export=levels,--export=hash")


@dataclass(frozen=True)
class Host:
    """A processor with a compiler. runner: what runs a program, before its path."""

    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()

    @property
    def missing(self):
        """The tools that this machine lacks."""
        tools = [self.compiler, *self.runner[:1], *(["wasm-ld"] if self.flags[0] == WASM[0] else [])]
        return [tool for tool in tools if not shutil.which(tool)]


def arm(machine, *flags):
    return Host("arm-none-eabi-gcc", (*MCU, *flags), (*BOARD, "-M", machine, "-kernel"))


HOSTS = {
    "x86": Host("gcc", ("-O3",)),
    "x86-O0": Host("gcc", ("-O0",)),
    "x86-portable": Host("gcc", (FUSED, "-O2", "-march=native", *PORTABLE)),
    "x86-clang": Host("clang", (FUSED, "-O3", "-march=native")),
    "x86-clang-portable": Host("clang", (FUSED, "-O3", "-march=native", *PORTABLE)),
    "aarch64": Host("aarch64-linux-gnu-gcc", (FUSED, "-O3", "-static"), ("qemu-aarch64",)),
    "aarch64-sdot": Host(
        "aarch64-linux-gnu-gcc", (FUSED, "-O3", "-march=armv8.2-a+dotprod", "-static"), ("qemu-aarch64",)
    ),
    "aarch64-portable": Host("aarch64-linux-gnu-gcc", (FUSED, "-Os", "-static", *PORTABLE), ("qemu-aarch64",)),
    "riscv64": Host("riscv64-linux-gnu-gcc", (FUSED, "-O3", "-static"), ("qemu-riscv64",)),
    "cortex-m3": arm("mps2-an385", "-O2", "-mcpu=cortex-m3"),
    "cortex-m4f": arm("mps2-an386", FUSED, "-Os", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": arm("mps2-an500", FUSED, "-O3", "-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "wasm": Host("clang", (*WASM, *EXPORTS), ("node", str(HERE / "run.mjs"))),
    "wasm-simd": Host("clang", (*WASM, "-msimd128", *EXPORTS), ("node", str(HERE / "run.mjs"))),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A program that hashes what kernels and language models compute, at each level of instructions."""
    folder = tmp_path_factory.mktemp("cross")
    torch.manual_seed(0)
    graph = LanguageModel(MODEL).eval().graphs()[0]
    parts = [kernel_source("KERNELS", "exercise")]
    for precision in PRECISIONS:
        _, data, _ = write_both(graph, Quantization(precision))
        code = write(precision, [lower(fold(data, graph.spec, {}))], about="A language model.", blob=False)
        (folder / f"{precision}.c").write_text(code.source, encoding="utf-8")
        hashing = (HERE / "hash.c").read_text(encoding="utf-8").replace("PRECISION", precision)
        parts.append(f'#include "{precision}.c"\n\n{hashing}')
    sizes = f"#define VOCABULARY {MODEL.vocabulary}\n#define STATE {MODEL.layers * MODEL.hidden}\n"
    main = (HERE / "main.c").read_text(encoding="utf-8").replace("/* SOURCES */", sizes + "\n".join(parts))
    (folder / "main.c").write_text(main, encoding="utf-8")
    return folder / "main.c"


def hashes(host, source, out):
    """Return the hashes by what is computed, each a set over the levels."""
    if host.missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(host.missing)}")
    program = compile_c(source, out, host.compiler, *host.flags)
    result = subprocess.run([*host.runner, program], capture_output=True, text=True, timeout=100, check=True)
    found = defaultdict(set)
    for line in (result.stdout + result.stderr).splitlines():
        name, _, value = line.split()
        found[name].add(value)
    return found


@pytest.fixture(scope="module")
def expected(source):
    return hashes(HOSTS["x86"], source, source.with_name("expected"))


def test_all_levels_give_one_hash_and_all_precisions_another(expected):
    assert list(expected) == ["kernels", *PRECISIONS]
    assert [len(values) for values in expected.values()] == [1] * len(expected)
    assert len(set.union(*expected.values())) == len(expected)


@pytest.mark.parametrize("name", [name for name in HOSTS if name != "x86"])
def test_every_processor_computes_the_same_bits(name, source, expected, tmp_path):
    assert hashes(HOSTS[name], source, tmp_path / name) == expected
