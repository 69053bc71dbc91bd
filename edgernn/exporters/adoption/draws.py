"""Tensors with which a graph is tried: random ones, or those of a file of examples."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, counted, few
from edgernn.exporters.adoption.graph import OpenGraph, Port

__all__ = ["Draws", "Example", "check_example", "read_example"]

_JITTER = 0.1  # relative difference between the rows of real values; preserves signs and zeros


@dataclass(frozen=True)
class Example:
    """Real inputs of one graph by the names in its model, each (steps, ...)."""

    arrays: Mapping[str, Array]

    @property
    def steps(self) -> int:
        """The number of steps."""
        return min((len(array) for array in self.arrays.values()), default=0)

    def sizes(self, graph: OpenGraph) -> dict[str, int]:
        """Return the sizes of the named axes of `graph`."""
        return {
            axis: size
            for name, array in self.arrays.items()
            for axis, size in zip(graph.inputs[name].known_axes, array.shape[1:], strict=True)
            if isinstance(axis, str)
        }


@dataclass(frozen=True)
class Draws:
    """Tensors for the inputs of a graph.

    ports: all inputs. bounds: the upper bounds of integers. example: real values, which are repeated and cropped to the
    sizes that are tried. positive: whether random floats are uniform from 0 to 1; otherwise they are normally
    distributed.
    """

    ports: Mapping[str, Port]
    bounds: Mapping[str, int]
    example: Example | None = None
    positive: bool = False

    def feeds(self, sizes: Mapping[str, int], seed: int, rows: Mapping[str, int] | None = None) -> dict[str, Array]:
        """Return a tensor for every input.

        sizes: of the named axes. rows: the position of the axis, by input, along which each row belongs to another
        stream.
        """
        random = np.random.default_rng(seed)
        arrays = {}
        for name, port in self.ports.items():
            shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in port.known_axes)
            if self.example is not None and name in self.example.arrays:
                arrays[name] = _varied(self.example.arrays[name], shape, (rows or {}).get(name), seed, random)
            else:
                arrays[name] = self._random(port, shape, random)
        return arrays

    def stream(self, sizes: Mapping[str, int], held: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """Yield the inputs of one stream, step by step: real values unchanged, or random ones without end.

        held: values that are the same at every step.
        """
        seed = 0
        while self.example is None or seed < self.example.steps:
            arrays = self.feeds(sizes, seed)
            if self.example is not None:
                real = {
                    name: _fitted(array[seed, ...], arrays[name].shape) for name, array in self.example.arrays.items()
                }
                arrays |= real
            yield {**arrays, **held}
            seed += 1

    def _random(self, port: Port, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        dtype = np.dtype(port.dtype)
        if dtype.kind == "f":
            return (random.random(shape) if self.positive else random.standard_normal(shape)).astype(dtype)
        highest = 256 if port.dtype == "uint8" else 2
        return random.integers(0, self.bounds.get(port.name, highest), shape).astype(dtype)


def check_example(path: Path, graphs: Sequence[OpenGraph]) -> None:
    """Raise ConfigError for a `.npz` file that cannot be read or has an array that belongs to no input of `graphs`."""
    known = {name: None for graph in graphs for name in map(graph.own, graph.inputs)}
    for key in _read(path):
        if all(_named(key, graph) is None for graph in graphs):
            raise ConfigError(f"{path}: the graphs have no input {key}; they have {few(sorted(known))}")


def read_example(path: Path, graph: OpenGraph, states: frozenset[str], conditions: Sequence[str]) -> Example:
    """Return the inputs of `graph` in a `.npz` file, by the names in the ONNX file.

    states: inputs that are states, which start as zeros. conditions: inputs that are the same at every step. Raises
    ConfigError for a file that cannot be read, and for arrays that are missing or do not fit.
    """
    found: dict[str, Array] = {}
    for key, array in _read(path).items():
        name = _named(key, graph)
        if name in states:
            raise ConfigError(f"{path}: {key} is a state, which begins as zeros: leave it out")
        if name is not None:
            found[name] = array
            _check(f"{path}: {key}", array, graph.inputs[name])
    missing = [graph.own(name) for name in graph.inputs if name not in found and name not in states]
    if missing:
        raise ConfigError(f"{path} has no array for the input {few(missing)}")
    for name in conditions:
        if np.any(found[name] != found[name][:1]):
            raise ConfigError(f"{path}: {graph.own(name)} is a condition, but changes from step to step")
    _check_sizes(path, graph, found)
    return Example(found)


def _named(key: str, graph: OpenGraph) -> str | None:
    """Return the input of `graph` that a file of examples calls `key`: by its own name, or GRAPH.NAME."""
    by_own = {graph.own(name): name for name in graph.inputs}
    return by_own.get(key) or by_own.get(key.removeprefix(f"{graph.name}."))


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ConfigError(f"{path} holds one array: use numpy.savez with a name for each input")
            return {key: file[key] for key in file.files}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no .npz file of plain arrays: {str(error)[:100]}") from None


def _check(place: str, array: Array, port: Port) -> None:
    if str(array.dtype) != port.dtype:
        raise ConfigError(f"{place} holds {array.dtype}; the graph takes {port.dtype}")
    if array.ndim < 1 or len(array) < 1:
        raise ConfigError(f"{place} has no steps: its first axis counts them")
    if array.size < 1:
        raise ConfigError(f"{place} has shape {list(array.shape)}: it holds no elements")
    if port.axes is not None:
        sizes = array.shape[1:]
        if len(sizes) != len(port.axes) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(port.axes, sizes, strict=True)
        ):
            raise ConfigError(f"{place} has shape {list(array.shape)}; the graph takes {port} after an axis of steps")


def _check_sizes(path: Path, graph: OpenGraph, arrays: Mapping[str, Array]) -> None:
    """Raise ConfigError for axes of one name with several sizes, and for arrays with different numbers of steps."""
    sizes: dict[str, int] = {}
    steps: int | None = None
    for name, array in arrays.items():
        if steps is not None and len(array) != steps:
            raise ConfigError(f"{path}: {graph.own(name)} has {counted(len(array), 'step')}, others have {steps}")
        steps = len(array)
        for axis, size in zip(graph.inputs[name].axes or (), array.shape[1:], strict=False):
            if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
                raise ConfigError(
                    f"{path}: the axis {axis} of {graph.own(name)} has size {size}, and {sizes[axis]} before"
                )


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """Repeat or crop `array` along each axis to the given shape."""
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size) % array.shape[axis], axis)
    return array


def _varied(array: Array, shape: tuple[int, ...], axis: int | None, seed: int, random: np.random.Generator) -> Array:
    """Return values similar to those of a step, with values similar to other steps along `axis`."""
    step = _fitted(array[seed % len(array), ...], shape)
    if axis is not None:
        rows = [np.take(_fitted(array[(seed + row) % len(array)], shape), [row], axis) for row in range(shape[axis])]
        step = np.concatenate(rows, axis)
    if step.dtype.kind == "f":
        step = (step * (1 + _JITTER * random.uniform(-1, 1, shape))).astype(step.dtype)
    return np.array(step)
