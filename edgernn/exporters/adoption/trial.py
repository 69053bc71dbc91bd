"""Try graphs: run them with given sizes, and check from the results that sizes fit and rows are independent streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from edgernn.contract import Array
from edgernn.errors import EngineError, first_line
from edgernn.exporters.adoption.draws import Draws
from edgernn.exporters.adoption.graph import OpenGraph
from edgernn.exporters.adoption.options import Pair
from edgernn.exporters.adoption.shapes import Shapes

__all__ = ["MisfitError", "Trial"]

Results = dict[str, Array]
Kind = Literal["run", "state", "values", "rows"]

_FEW = 1 << 16  # total number of input elements up to which a large result is an error
_GIVEN = 1 << 21  # limit of the total number of input elements, unless the caller chose the sizes
_ELEMENTS = 1 << 27  # limit of the total number of elements of all tensors
_MANY = (65, 17, 9)  # large batches, in which distant rows could depend on each other
_QUICK = 1 << 24  # limit of the total number of elements in a trial with a large batch
_TOGETHER = 1e-3  # relative difference of a row alone and in a batch, which may change the order of sums
_BESIDE = 1e-6  # relative difference of a row between two batches that differ only in other rows


class MisfitError(Exception):
    """A graph does not run as it was tried.

    kind: "run" if it failed, "state" if a state changes its shape, "values" if sizes depend on values, "rows" if rows
    are not independent streams.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Trial:
    """A graph in onnxruntime, ready to run with different sizes. Raises EngineError if it does not load."""

    def __init__(self, graph: OpenGraph, pairs: Sequence[Pair], draws: Draws, shapes: Shapes) -> None:
        self.graph, self.pairs, self.draws, self.shapes = graph, pairs, draws, shapes
        self._outputs = list(graph.outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            data = _unshaped(graph).SerializeToString()
            self._session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions
            raise EngineError(f"graph {graph.name} cannot be loaded: {first_line(error)}") from None

    def run(self, feeds: Mapping[str, Array]) -> Results:
        """Return the results by name. Raises MisfitError if the graph fails."""
        try:
            arrays = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions
            sizes = ", ".join(f"{self.graph.own(name)} {list(array.shape)}" for name, array in feeds.items())
            raise MisfitError("run", f"with {sizes}: {first_line(error)}") from None
        return dict(zip(self._outputs, arrays, strict=True))

    def one(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all results.

        Raises MisfitError if they depend on values, or states change their shapes.
        """
        least = self.shapes.given({} if self.draws.example is None else self.draws.example.sizes(self.graph))
        given = self.shapes.given(sizes)
        if given > max(_GIVEN, 4 * least) or (given > max(_FEW, least) and self.shapes.elements(sizes) > _ELEMENTS):
            raise MisfitError("run", f"with {_sizes_text(sizes)} it would take too much memory")
        shapes: dict[str, tuple[int, ...]] = {}
        for seed in range(2):
            feeds = self.draws.feeds(sizes, seed)
            results = self.run(feeds)
            self._check_states(feeds, results)
            for name, array in results.items():
                if shapes.setdefault(name, array.shape) != array.shape:
                    raise MisfitError(
                        "values",
                        f"the size of output {self.graph.own(name)} depends on values: {list(shapes[name])}, then "
                        f"{list(array.shape)}, for inputs of the same sizes",
                    )
        return shapes

    def rows(self, sizes: Mapping[str, int], group: frozenset[str], count: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all results of `count` streams along the axes of `group`.

        Raises MisfitError unless every row of every result equals the result of its stream alone, whatever the other
        rows are.
        """
        many = {**sizes, **dict.fromkeys(group, count)}
        places = self.places(group)
        feeds = self.draws.feeds(many, 0, places)
        others = self.draws.feeds(many, count, places)
        together, another = self.run(feeds), self.run(others)
        self._check_states(feeds, together)
        if all(np.array_equal(array, another[name]) for name, array in together.items()):
            raise MisfitError(
                "rows", "nothing that comes out changes with the inputs, so that rows cannot be told apart"
            )
        for row in range(count):
            alone = self.run({n: _rows(array, places.get(n), [row]) for n, array in feeds.items()})
            changed = self.run({n: _with_rows(array, others[n], places.get(n), [row]) for n, array in feeds.items()})
            for name, whole in together.items():
                place = self._row_place(name, alone[name].shape, whole.shape, count, places)
                expected = _rows(whole, place, [row])
                rounding = (
                    8 * np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
                )  # coarse at half precision
                if not _is_close(alone[name], expected, max(_TOGETHER, float(rounding))):
                    raise self._dependent(name, group, "alone and beside others")
                if not _is_close(_rows(changed[name], place, [row]), expected, _BESIDE):
                    raise self._dependent(name, group, "beside one neighbour and another")
        return {name: array.shape for name, array in together.items()}

    def distant_rows(self, sizes: Mapping[str, int], group: frozenset[str]) -> None:
        """Raise MisfitError if distant streams depend on each other in a large batch along the axes of `group`.

        The indices of any two rows differ in some bit. So for each bit, all rows in which it is set are changed at
        once, and the other rows must not change; then the other way round.
        """
        count = self._many(sizes)
        if not count:
            return
        many, places = {**sizes, **dict.fromkeys(group, count)}, self.places(group)
        feeds, others = (self.draws.feeds(many, seed, places) for seed in (0, count))
        together = self.run(feeds)
        alone = self.run({name: _rows(array, places.get(name), [0]) for name, array in feeds.items()})
        for bit in range(count.bit_length()):
            is_set = (np.arange(count) >> bit) & 1 == 1
            for kept in (np.flatnonzero(is_set), np.flatnonzero(~is_set)):
                mixed = {n: _with_rows(array, others[n], places.get(n), kept) for n, array in feeds.items()}
                for name, array in self.run(mixed).items():
                    place = self._row_place(name, alone[name].shape, array.shape, count, places)
                    if not _is_close(_rows(array, place, kept), _rows(together[name], place, kept), _BESIDE):
                        raise self._dependent(name, group, "beside one neighbour and another")

    def _many(self, sizes: Mapping[str, int]) -> int:
        """Return a large batch size with which a trial is still fast, or 0."""
        elements = max(1, self.shapes.elements(sizes))
        counts = _MANY[-1:] if self.pairs else _MANY  # the axis is shared with states, so it is hardly one of time
        return next((count for count in counts if count * elements <= _QUICK), 0)

    def places(self, group: frozenset[str]) -> dict[str, int]:
        """Return the position of the axis of `group` in each input that has one."""
        return {
            name: place
            for name, port in self.graph.inputs.items()
            for place, axis in enumerate(port.known_axes)
            if axis in group
        }

    def _check_states(self, feeds: Mapping[str, Array], results: Results) -> None:
        for pair in self.pairs:
            given, made = feeds[pair.given].shape, results[pair.made].shape
            if given != made:
                raise MisfitError(
                    "state",
                    f"the state {self.graph.own(pair.given)} changes its shape: {list(given)} goes in and {list(made)} "
                    f"comes out as {self.graph.own(pair.made)}; a state keeps its size",
                )

    def _row_place(
        self, name: str, alone: tuple[int, ...], whole: tuple[int, ...], count: int, places: Mapping[str, int]
    ) -> int | None:
        """Return the axis of a result that counts the streams, or None."""
        changed = [place for place, (a, b) in enumerate(zip(alone, whole, strict=False)) if a != b]
        own = self.graph.own(name)
        if len(alone) != len(whole) or len(changed) > 1 or any((alone[p], whole[p]) != (1, count) for p in changed):
            raise MisfitError("rows", f"output {own} is {list(alone)} for one stream and {list(whole)} for {count}")
        place = changed[0] if changed else None
        for pair in self.pairs:
            if pair.made == name and places.get(pair.given) != place:
                raise MisfitError(
                    "rows", f"the streams are not along the same axis of {self.graph.own(pair.given)} and {own}"
                )
        return place

    def _dependent(self, name: str, group: frozenset[str], how: str) -> MisfitError:
        axes = ", ".join(
            f"{axis} of {self.graph.own(n)}"
            for n, p in self.graph.inputs.items()
            for axis in p.known_axes
            if axis in group
        )
        return MisfitError(
            "rows", f"the rows along {axes} depend on each other: a row of {self.graph.own(name)} differs {how}"
        )


def _unshaped(graph: OpenGraph) -> onnx.ModelProto:
    """Return the model without its declared sizes, except for fixed sizes of inputs."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.value_info[:], model.graph.input[:], model.graph.output[:]
    for port in graph.inputs.values():
        axes = [axis if isinstance(axis, int) else None for axis in port.known_axes]
        model.graph.input.append(helper.make_tensor_value_info(port.name, port.kind, axes))
    for port in graph.outputs.values():
        model.graph.output.append(helper.make_tensor_value_info(port.name, port.kind, None))
    return model


def _rows(array: Array, place: int | None, rows: Sequence[int] | Array) -> Array:
    return array if place is None else np.take(array, rows, place)


def _with_rows(array: Array, others: Array, place: int | None, rows: Sequence[int] | Array) -> Array:
    """Return `others` with the rows `rows` of `array`."""
    if place is None:
        return array
    mixed = others.copy()
    at = (*(slice(None),) * place, rows)
    mixed[at] = array[at]
    return mixed


def _is_close(one: Array, other: Array, tolerance: float) -> bool:
    """Return whether two results are equal up to rounding. Floats without any finite element never are."""
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    finite = np.isfinite(other)
    if other.size and not finite.any():
        return False
    largest = float(np.max(np.abs(other, where=finite, out=np.zeros_like(other)), initial=0.0))
    return bool(np.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True))


def _sizes_text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
