"""Labelled sequences as a reader collects them."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgernn.contract import Array
from edgernn.errors import CorpusError

__all__ = ["MOST_BYTES", "Found", "LabelledSequence"]

MOST_BYTES = 4 << 30  # of memory that all sequences take
_OBJECT = 400  # bytes of memory that a sequence takes beside its values


@dataclass
class LabelledSequence:
    """A sequence as it is read. rate: of sound."""

    name: str
    value: Array | str
    label: str
    group: str = ""
    rate: int = 0


@dataclass
class Found:
    """What a reader found.

    classes: those that the data declare, in their order; others follow, sorted. channels: the names of those of
    numbers, in order, where the data name them.
    """

    kind: str
    sequences: list[LabelledSequence] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    _bytes: int = 0

    def add(self, sequence: LabelledSequence) -> None:
        """Add a sequence. Raises CorpusError for one that is empty, has no name of a class, or exceeds the memory."""
        if not len(sequence.value):
            raise CorpusError(f"{sequence.name} is an empty sequence: remove it")
        if not sequence.label:
            raise CorpusError(f"{sequence.name} has no label")
        if not sequence.label.isprintable():
            raise CorpusError(f"{sequence.name} has the label {sequence.label!r}, which cannot be printed: rename it")
        self._bytes += _OBJECT + (len(sequence.value) if isinstance(sequence.value, str) else sequence.value.nbytes)
        if self._bytes > MOST_BYTES:
            raise CorpusError(f"the sequences up to {sequence.name} take more than {MOST_BYTES >> 30} GiB of memory")
        self.sequences.append(sequence)

    def class_names(self) -> tuple[str, ...]:
        """Return the declared classes in their order, and then the others, sorted."""
        others = {each.label for each in self.sequences}.difference(self.classes)
        return (*self.classes, *sorted(others))
