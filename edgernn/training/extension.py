"""The record of a finished training that continues with later limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgernn import records
from edgernn.errors import FormatError

__all__ = ["Extension"]


@dataclass(frozen=True)
class Extension:
    """The continuation of a finished training up to later limits.

    step, seconds: of the training when it continues. steps, passes, minutes: the new limits, counted from the beginning
    of the training; None for no limit. The progress restarts from 0.
    """

    step: int
    seconds: float
    steps: int | None = None
    passes: float | None = None
    minutes: float | None = None

    @property
    def limits(self) -> dict[str, Any]:
        """The limits as settings."""
        return {"steps": self.steps, "passes": self.passes, "minutes": self.minutes}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Extension:
        """Read what `to_json` wrote. Raises FormatError for anything else."""
        values = records.record(value, "an extension", set(cls.__dataclass_fields__))
        step = records.integer(values["step"], "step")
        seconds = records.number(values["seconds"], "seconds")
        steps = None if values["steps"] is None else records.integer(values["steps"], "steps")
        passes, minutes = (
            None if values[name] is None else records.number(values[name], name) for name in ("passes", "minutes")
        )
        if steps is passes is minutes is None:
            raise FormatError("an extension has no limit")
        return cls(step, seconds, steps, passes, minutes)
