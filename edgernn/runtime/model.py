"""A model: a loaded bundle, with which to step and to begin streams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from edgernn.bundle import Bundle
from edgernn.contract import Array
from edgernn.runtime.engine import BundleEngine
from edgernn.runtime.program import NOTHING, STEP, Program
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = ["STEP", "Model"]


class Model(Program):
    """The graphs of one bundle, ready to run. Immutable; threads and streams can share it."""

    @classmethod
    def load(cls, path: str | Path, engine: type[BundleEngine] | None = None) -> Self:
        """Load the bundle at `path`. Raises BundleError or EngineError, which say what is wrong with it.

        engine: by default, the device's engine for the bundle's target.
        """
        return cls(Bundle.load(path), engine)

    def stream(
        self,
        sampler: Sampler | None = None,
        *,
        inputs: Mapping[str, Array] = NOTHING,
        graph: str = STEP,
    ) -> Stream:
        """Return a new stream of `graph` at its initial state.

        sampler: by default, `Sampler()`. inputs: as in `begin`.
        """
        return Stream(self, Sampler() if sampler is None else sampler, inputs, graph)
