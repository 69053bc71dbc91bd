"""A model: a loaded bundle, which steps by itself and begins streams."""

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
    """The graphs of one bundle, ready to run. Immutable: threads and streams share it freely."""

    @classmethod
    def load(cls, path: str | Path, engine: type[BundleEngine] | None = None) -> Self:
        """Load the bundle at `path`. Raises BundleError or EngineError, which say what is wrong with it."""
        return cls(Bundle.load(path), engine)

    def stream(
        self,
        sampler: Sampler | None = None,
        *,
        inputs: Mapping[str, Array] = NOTHING,
        graph: str = STEP,
    ) -> Stream:
        """A new stream of `graph` at its initial state; `inputs` as in `begin`."""
        return Stream(self, Sampler() if sampler is None else sampler, inputs, graph)
