"""A model: a loaded bundle, with which to step and to begin streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from edgernn.bundle import Bundle
from edgernn.contract import Array
from edgernn.execution import Execution
from edgernn.runtime.engine import BundleEngine
from edgernn.runtime.program import NOTHING, STEP, Program
from edgernn.runtime.reading import Reading
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = ["STEP", "Model"]


class Model(Program):
    """The graphs of one bundle, ready to run. Immutable; threads and streams can share it."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        engine: type[BundleEngine] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[str] = (),
    ) -> Self:
        """Load the bundle at `path`.

        threads: the number of threads that compute one step; None for one thread in onnxruntime.
        providers: execution providers of onnxruntime by name, such as "CUDA" or "CoreMLExecutionProvider", the
        preferred one first; the CPU takes what they leave.
        Raises BundleError or EngineError, which say what is wrong with the bundle; EngineError for a provider that this
        onnxruntime lacks, or for threads or providers that an engine cannot set; ConfigError for impossible threads.
        """
        return cls(Bundle.load(path), engine, Execution(threads=threads, providers=tuple(providers)))

    def stream(
        self,
        sampler: Sampler | None = None,
        *,
        inputs: Mapping[str, Array] = NOTHING,
        graph: str = STEP,
        readings: Sequence[Reading] = (),
    ) -> Stream:
        """A new stream of `graph` at its initial state; `inputs` and `readings` as in `begin`.

        sampler: how tokens are drawn; `Sampler()` unless it is given. Raises StreamError if it is not a Sampler.
        """
        return Stream(self, Sampler() if sampler is None else sampler, inputs, graph, readings)
