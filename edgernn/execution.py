"""How an engine executes the graphs of a bundle: on how many threads, and on which of onnxruntime's providers."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option

__all__ = ["DEFAULT", "LEVELS", "Execution"]

LEVELS = ("base", "avx2", "vnni")


@dataclass(frozen=True, kw_only=True)
class Execution(Settings):
    """How an engine executes graphs. An engine refuses what it cannot do with an EngineError.

    threads: None for one thread in onnxruntime, and for what torch and ExecuTorch are set to. These two have one number
    of threads for the whole process, which loading a bundle with `threads` changes.
    providers: execution providers of onnxruntime, the preferred one first; its CPU provider takes what they leave.
    engine: "c" to compile and execute the source file of a bundle in C. level: the set of instructions that its code
    uses, None for the best that the processor has.
    """

    threads: int | None = option(
        None, "The number of threads that compute one step.", low=1, high=1024, unset="1 for onnx and ort"
    )
    providers: tuple[str, ...] = option(
        (),
        "An execution provider of onnxruntime, such as CUDA or CoreML. The CPU executes what the provider does not "
        "support. Can be given more than once, the preferred one first.",
        flag="provider",
        unset="CPU",
    )
    engine: str | None = option(
        None,
        "The engine that executes the bundle: c compiles the source code of a bundle in C and executes it. A bundle in "
        "C runs only with this option, because its code can do anything: use the option only for bundles from people "
        "whom you trust.",
        choices=("c",),
        unset="that of the bundle's target",
    )
    level: str | None = option(
        None,
        "The level of instructions that the compiled code of a bundle in C uses: base is SSE2 on x86-64. All levels "
        "compute the same bits.",
        choices=LEVELS,
        unset="the best that the processor has",
    )


DEFAULT = Execution()
