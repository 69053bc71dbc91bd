"""Trials of a graph with one stream; each is carried out once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgernn.exporters.adoption.symbols import Sizes, Symbols
from edgernn.exporters.adoption.trial import MisfitError, Trial

__all__ = ["Attempts", "ResultShapes"]

ResultShapes = Mapping[str, tuple[int, ...]]


class Attempts:
    """The results of trials with several sizes. failed: why trials failed, in order.

    strict: whether results must have the sizes that the file declares, which may be wrong.
    """

    def __init__(self, trial: Trial, symbols: Symbols) -> None:
        self.trial, self.symbols, self.strict = trial, symbols, True
        self.failed: list[MisfitError] = []
        self._tried: dict[frozenset[tuple[str, int]], ResultShapes | None] = {}

    def one(self, sizes: Sizes) -> ResultShapes | None:
        """Return the shapes of the results with `sizes`, or None if the graph fails or violates its declaration."""
        key = frozenset(sizes.items())
        if key not in self._tried:
            try:
                self._tried[key] = self.trial.one(sizes)
            except MisfitError as error:
                self.failed.append(error)
                self._tried[key] = None
        shapes = self._tried[key]
        return shapes if shapes is None or not self.strict or self._is_declared(shapes, sizes) else None

    def _is_declared(self, shapes: ResultShapes, sizes: Sizes) -> bool:
        """Return whether the results have the sizes that the file declares, as far as it declares them."""
        for name, port in self.trial.graph.outputs.items():
            if port.axes is not None:
                said = [sizes.get(axis) if isinstance(axis, str) else axis for axis in port.axes]
                if len(said) != len(shapes[name]) or any(
                    s not in (None, n) for s, n in zip(said, shapes[name], strict=True)
                ):
                    return False
        return True

    def completed(self, sizes: Sizes) -> Iterator[Sizes]:
        """Yield `sizes` with inferred sizes of states; a size that cannot be inferred is 1, then as in `sizes`."""
        known = self.followed(sizes)
        rest = self.symbols.unsaid - known.keys()
        yield {**known, **dict.fromkeys(rest, 1)}
        if rest:
            yield {**known, **{axis: sizes[axis] for axis in rest}}

    def followed(self, sizes: Sizes) -> Sizes:
        """Return `sizes` with the sizes of states that can be inferred, and without those that cannot."""
        unknown = self.symbols.unsaid - {axis for axis, size in sizes.items() if size == 1}
        known = {axis: size for axis, size in sizes.items() if axis not in unknown}
        while unknown - known.keys():
            inferred = self.trial.shapes.infer(known)
            found = {
                axis: size
                for pair in self.trial.pairs
                for axis, size in zip(
                    self.symbols.ports[pair.given].known_axes, inferred.get(pair.made, ()), strict=False
                )
                if isinstance(axis, str) and axis not in known and size is not None
            }
            if not found:
                break
            known |= found
        return known
