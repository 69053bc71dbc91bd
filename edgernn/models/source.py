"""What an exporter sees of a trained network: the network, the files that go with it, and held-out arrays."""

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
_RANK = 2  # of held-out arrays: sequences and steps, at least


@dataclass(frozen=True)
class Feedback:
    """How an output is fed back as the next input, so that whole sequences can be compared.

    output: its largest element along the last axis is fed back. excluded: elements that are never chosen. end: the
    element after which a sequence has ended, or None. steps: the length of the longest sequence.
    """

    output: str
    steps: int
    excluded: tuple[int, ...] = ()
    end: int | None = None


@dataclass(frozen=True)
class HeldOut:
    """Sequences that training has not seen, as arrays. The parity gate drives source and artifact with them.

    begin: inputs of the graphs that run once for a sequence, one mapping for each sequence, such as an image; empty
    where there are no such graphs. Each array has a batch of one.
    steps: inputs of the graph that is stepped, by name, each (sequences, steps, ...).
    targets: by name of the output, each (sequences, steps, ...). An integer target is compared by cross-entropy and
    ignored where it is below 0; a floating-point target by squared error and ignored where it is not a number.
    feedback: by name of the input that is fed; empty where no whole sequences are compared.
    calibration: inputs of graphs without state, by which the ranges of their activations are measured; they have
    nothing in common with `begin`.
    """

    steps: Mapping[str, Array]
    targets: Mapping[str, Array] = field(default_factory=dict)
    begin: Sequence[Mapping[str, Array]] = ()
    feedback: Mapping[str, Feedback] = field(default_factory=dict)
    calibration: Sequence[Mapping[str, Array]] = ()

    def __post_init__(self) -> None:
        """Raises FormatError for arrays that do not go together."""
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
        """How many sequences there are."""
        return len(next(iter({**self.steps, **self.targets}.values())))

    @property
    def length(self) -> int:
        """How many steps each sequence has."""
        return int(next(iter({**self.steps, **self.targets}.values())).shape[1])

    def to_arrays(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays by a flat name, and plain JSON values, from which `from_arrays` makes it again."""
        arrays = {f"steps.{name}": array for name, array in self.steps.items()}
        arrays |= {f"targets.{name}": array for name, array in self.targets.items()}
        for part in ("begin", "calibration"):
            for place, each in enumerate(getattr(self, part)):
                arrays |= {f"{part}.{place}.{name}": array for name, array in each.items()}
        feedback = {name: {**asdict(each), "excluded": list(each.excluded)} for name, each in self.feedback.items()}
        return arrays, {"feedback": feedback}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], about: Any) -> HeldOut:
        """Read what `to_arrays` gave. Raises FormatError for anything else."""
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
    """What is exported: a network in evaluation mode, and what goes with it.

    assets: files that the bundle carries, by name, such as "tokenizer.json". provenance: where the network came from,
    for people. held_out: None drives the parity gate with random inputs.
    """

    network: Network
    assets: Mapping[str, bytes] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    held_out: HeldOut | None = None


def _numbered(arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Mappings from arrays that are called PLACE.NAME."""
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
