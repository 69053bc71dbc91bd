"""The interface between training and exporters: a trained network, its assets, and held-out arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgernn import records
from edgernn.contract import Array
from edgernn.errors import FormatError
from edgernn.models.base import Network

__all__ = ["Feedback", "HeldOut", "Source"]

_PARTS = ("begin", "steps", "targets", "calibration")
_RANK = 2  # of held-out arrays: at least the axes sequences and steps


@dataclass(frozen=True)
class Feedback:
    """How an output is fed back as the next input, so that whole generated sequences can be compared.

    output: the output whose argmax along the last axis is fed back. excluded: indices that are never chosen. end: the
    index that ends a sequence, or None. steps: the largest number of steps of a sequence.
    """

    output: str
    steps: int
    excluded: tuple[int, ...] = ()
    end: int | None = None


@dataclass(frozen=True)
class HeldOut:
    """Held-out sequences, as arrays, on which the parity gate compares source and artifact.

    begin: inputs of the graphs from which sequences begin, such as an image, as one mapping for each sequence, each
    array with a batch of one; those of a graph with states have a first axis that counts its steps. Empty without such
    graphs.
    steps: inputs of the graph that is stepped, by name, each (sequences, steps, ...).
    targets: by name of the output, each (sequences, steps, ...). Integer targets use cross-entropy, and those below 0
    are ignored; floating-point targets use the squared error, and NaN is ignored.
    feedback: by name of the input; empty if no whole sequences are compared.
    calibration: inputs of graphs without states, with which the ranges of activations are calibrated; disjoint from the
    inputs in `begin`, on which source and artifact are compared.
    """

    steps: Mapping[str, Array]
    targets: Mapping[str, Array] = field(default_factory=dict)
    begin: Sequence[Mapping[str, Array]] = ()
    feedback: Mapping[str, Feedback] = field(default_factory=dict)
    calibration: Sequence[Mapping[str, Array]] = ()

    def __post_init__(self) -> None:
        """Raise FormatError for arrays that do not fit each other."""
        shapes = {array.shape[:2] for array in (*self.steps.values(), *self.targets.values())}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) < _RANK or 0 in shape:
            raise FormatError("the held-out arrays are not of one number of sequences and steps")
        if wrong := [name for name, array in self.targets.items() if array.dtype.kind not in "iuf"]:
            raise FormatError(f"the held-out targets {wrong[0]} are neither integers nor floating-point numbers")
        if self.begin and len(self.begin) != self.sequences:
            raise FormatError(f"{len(self.begin)} held-out sequences begin, and {self.sequences} are stepped")
        for part in (self.begin, self.calibration):
            if part and any(each.keys() != part[0].keys() for each in part):
                raise FormatError("the held-out inputs of graphs that run once do not all have the same names")
        if stray := sorted(self.feedback.keys() - self.steps.keys()):
            raise FormatError(f"the held-out feedback is of {stray[0]}, which is not stepped")

    @property
    def sequences(self) -> int:
        """The number of sequences."""
        return len(next(iter({**self.steps, **self.targets}.values())))

    @property
    def length(self) -> int:
        """The number of steps of each sequence."""
        return int(next(iter({**self.steps, **self.targets}.values())).shape[1])

    def to_arrays(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return arrays by a flat name, and plain JSON values, from which `from_arrays` restores these sequences."""
        arrays = {f"steps.{name}": array for name, array in self.steps.items()}
        arrays |= {f"targets.{name}": array for name, array in self.targets.items()}
        for part in ("begin", "calibration"):
            for place, each in enumerate(getattr(self, part)):
                arrays |= {f"{part}.{place}.{name}": array for name, array in each.items()}
        feedback = {name: {**asdict(each), "excluded": list(each.excluded)} for name, each in self.feedback.items()}
        return arrays, {"feedback": feedback}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], about: Any) -> HeldOut:
        """Read what `to_arrays` returned. Raises FormatError for anything else."""
        found: dict[str, dict[str, Array]] = {part: {} for part in _PARTS}
        for key, array in arrays.items():
            part, _, name = key.partition(".")
            if part not in found or not name:
                raise FormatError(f"{key[:40]!r} is no held-out array")
            found[part][name] = array
        feedback = records.mapping(records.record(about, "the held-out data", {"feedback"})["feedback"], "feedback")
        return cls(
            found["steps"],
            found["targets"],
            _numbered(found["begin"]),
            {name: _feedback(value) for name, value in feedback.items()},
            _numbered(found["calibration"]),
        )


@dataclass(frozen=True)
class Source:
    """What is exported: a network in evaluation mode, and the records and files that belong to it.

    assets: files that the bundle includes, by name, such as "tokenizer.json". provenance: a record for people of where
    the network comes from. held_out: None makes the parity gate use random inputs.
    """

    network: Network
    assets: Mapping[str, bytes] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    held_out: HeldOut | None = None


def _numbered(arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Return one mapping for each PLACE from arrays that are named PLACE.NAME."""
    found: dict[int, dict[str, Array]] = {}
    for key, array in arrays.items():
        place, _, name = key.partition(".")
        if not place.isdecimal() or not name:
            raise FormatError(f"{key[:40]!r} is no held-out array")
        found.setdefault(int(place), {})[name] = array
    if sorted(found) != list(range(len(found))):
        raise FormatError("a held-out sequence is missing")
    return [found[place] for place in range(len(found))]


def _feedback(value: Any) -> Feedback:
    values = records.record(value, "feedback", {"output", "steps", "excluded", "end"})
    excluded = tuple(records.integer(each, "excluded") for each in records.items(values["excluded"], "excluded"))
    end = None if values["end"] is None else records.integer(values["end"], "end")
    return Feedback(records.text(values["output"], "output"), records.integer(values["steps"], "steps"), excluded, end)
