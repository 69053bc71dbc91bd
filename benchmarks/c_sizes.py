"""Memory of language models in C on Cortex-M: flash for code and weights, RAM, and instructions of a step in qemu.

python benchmarks/c_sizes.py --flags=-Os

Needs arm-none-eabi-gcc with picolibc, and qemu-system-arm; .ci/compilers installs them.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import torch

from edgernn.exporters.c.folding import fold
from edgernn.exporters.c.operators import lower
from edgernn.exporters.c.source import write
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.targets.onnx import write_both
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig

MODELS = {"S": (65, 64, 128, 1), "XS": (65, 32, 64, 1)}  # vocabulary, embedding, hidden, layers
PRECISIONS = ("fp32", "int8", "int4")
CORES = {
    "M3": ("mps2-an385", "-mcpu=cortex-m3"),
    "M4F": ("mps2-an386", "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"),
    "M7": ("mps2-an500", "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16"),
}
MEMORY = {"flash": 0, "flash_size": 0x400000, "ram": 0x20000000, "ram_size": 0x400000, "stack_size": 0x800}
LINK = ["-Wl,--gc-sections", *(f"-Wl,--defsym=__{name}={value}" for name, value in MEMORY.items())]
PICOLIBC = ["--specs=picolibc.specs", "--oslib=semihost", "--crt0=hosted"]
QEMU = ["qemu-system-arm", "-nographic", "-semihosting", "-icount", "shift=0"]
TICK = 40  # instructions: the timer of these boards counts at 25 MHz, and qemu executes one in a nanosecond

EMPTY = "int main(void) { return 0; }"
PROGRAM = """
#include "model.c"
#include TIMER

int main(void)
{
    static model_step_scratch scratch;
    static float logits[VOCABULARY], state[4][STATE];
    static const int64_t token = 1;
    model_step_inputs in;
    model_step_outputs out;
    in.token = &token, in.h_in = state[0], in.c_in = state[1];
    out.logits = logits, out.h_out = state[2], out.c_out = state[3];
    START;
    model_step_run(&in, &out, &scratch, &model_step_stored, 0);
    STOP;
    return 0;
}
"""
TIMER = """
#include <stdio.h>
static volatile uint32_t *const timer = (volatile uint32_t *)0x40000000;
#define START (timer[2] = timer[1] = 0xffffffffu, timer[0] = 1)
#define STOP printf("%lu", (unsigned long)(0xffffffffu - timer[1]))
"""
NO_TIMER = "#define START\n#define STOP\n"


def main() -> None:
    """Print a line for each model, precision and core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flags", default="-Os", help="options of the compiler")
    flags = parser.parse_args().flags.split()
    print("| model | precision | core | code | weights | RAM | instructions |")
    print("|---|---|---|---|---|---|---|")
    for model, sizes in MODELS.items():
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                weights = generate(sizes, precision, Path(folder))
                for core in CORES:
                    code, ram, instructions = measure(core, flags, Path(folder))
                    row = (
                        model,
                        precision,
                        core,
                        *(f"{each:,}" for each in (code - weights, weights, ram, instructions)),
                    )
                    print(f"| {' | '.join(row)} |", flush=True)


def generate(sizes: tuple[int, int, int, int], precision: str, folder: Path) -> int:
    """Write the source of a language model with random weights. Returns the bytes of its weights."""
    vocabulary, embedding, hidden, layers = sizes
    torch.manual_seed(0)
    config = LanguageConfig(vocabulary=vocabulary, embedding=embedding, hidden=hidden, layers=layers)
    graph = LanguageModel(config).eval().graphs()[0]
    _, data, _ = write_both(graph, Quantization(precision))
    programs = [lower(fold(data, graph.spec, {}))]
    (folder / "model.c").write_text(write("model", programs, about="A language model.", blob=False).source)
    defined = f"#define VOCABULARY {vocabulary}\n#define STATE {layers * hidden}\n"
    for name, text in {"main.c": defined + PROGRAM, "empty.c": EMPTY, "timer.h": TIMER, "none.h": NO_TIMER}.items():
        (folder / name).write_text(text)
    return len(write("model", programs, about="", blob=True).weights or b"")


def measure(core: str, flags: list[str], folder: Path) -> tuple[int, int, int]:
    """Return the bytes of flash and of RAM that a model adds to an empty program, and the instructions of a step."""
    board, target = CORES[core]
    options = [*target.split(), *flags]
    step, empty = (used(build(folder / file, '"none.h"', options)) for file in ("main.c", "empty.c"))
    timed = build(folder / "main.c", '"timer.h"', options)
    result = subprocess.run([*QEMU, "-M", board, "-kernel", timed], capture_output=True, text=True, check=True)
    return step[0] - empty[0], step[1] - empty[1], TICK * int(result.stdout or result.stderr)


def build(source: Path, timer: str, options: list[str]) -> Path:
    """Compile and link a program."""
    program = source.with_suffix(".elf")
    command = ["arm-none-eabi-gcc", "-std=c99", "-mthumb", *PICOLIBC, *LINK, *options, f"-DTIMER={timer}", str(source)]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def used(program: Path) -> tuple[int, int]:
    """Return the bytes of flash and of RAM of a program."""
    result = subprocess.run(["arm-none-eabi-size", str(program)], capture_output=True, text=True, check=True)
    text, data, zeros = map(int, result.stdout.splitlines()[1].split()[:3])
    return text + data, data + zeros


if __name__ == "__main__":
    main()
