"""The interface of targets."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgernn.contract import Array, GraphSpec
from edgernn.errors import first_line
from edgernn.exporters.quantization import Quantization
from edgernn.models import Graph
from edgernn.runtime import BundleEngine, Engine

__all__ = [
    "NO_WEIGHT",
    "Artifact",
    "GraphReport",
    "OnnxGraph",
    "Positional",
    "StoredTensor",
    "Target",
    "Weight",
    "compiled_part",
    "is_matrix",
    "one_file_each",
    "root_cause",
    "suppress_output",
    "weight_name",
    "write_files",
]


NO_WEIGHT = "no product takes it as its weights"


@dataclass(frozen=True)
class Weight:
    """How one matrix is stored.

    scales: which of its elements share a scale. arithmetic: of the products that use it. reason: why it does not have
    the bits of the precision, or "".
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    scales: str
    arithmetic: str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the weight as the manifest records it."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Artifact:
    """The content of a graph file.

    weights: how each matrix is stored, if the precision is not fp32. single: the size in bytes of the same graph at
    fp32, if known. files: accompanying files, by name. name: of the file; "" for the graph's name with the target's
    suffix. size: of the graph in bytes, if it is not that of the file.
    """

    data: bytes
    weights: tuple[Weight, ...] = ()
    single: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    name: str = ""
    size: int | None = None

    @property
    def bytes(self) -> int:
        """The size of the graph."""
        return len(self.data) if self.size is None else self.size


@dataclass(frozen=True)
class OnnxGraph:
    """A graph in an ONNX file, at the precision of its bundle.

    weights: how each matrix is stored, if the precision is not fp32. single: the size in bytes of the file at fp32.
    initial: the first values of the states that do not begin as zeros.
    """

    spec: GraphSpec
    data: bytes
    weights: tuple[Weight, ...] = ()
    single: int | None = None
    initial: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTensor:
    """A constant in a graph file. bytes: the size of its elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class GraphReport:
    """The contents of a graph file.

    parameters: the number of elements of constant tensors, or None if the format hides them. operators: the count of
    each operator. opset, ir_version: of ONNX, else None. quantised: whether any weight is stored in integers. contract:
    the contract in the file itself, if it has one. inputs, outputs: names, types and axes, if the format has them.
    tensors: the constants. multiply_accumulates: the number for products with constant matrices, for one step of one
    stream (and one step of recurrent operators), or None if the format hides them. bytes: the size of the weights, or
    None if it is that of the file.
    """

    parameters: int | None
    operators: Mapping[str, int]
    opset: int | None = None
    ir_version: int | None = None
    quantised: bool = False
    contract: GraphSpec | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tensors: tuple[StoredTensor, ...] = ()
    multiply_accumulates: int | None = None
    bytes: int | None = None


Complete = Callable[
    [Sequence[GraphSpec], Mapping[str, Engine], Mapping[str, Any], Mapping[str, bytes]], Mapping[str, bytes]
]


@dataclass(frozen=True)
class Target:
    """One kind of artifact.

    suffix: of its graph files. write: exports graphs, given the assets of their bundle, and returns their files by
    graph. engine: runs a graph file on this machine. inspect: reports the contents of a graph file. precisions: the
    supported precisions. options: the supported options of `Quantization`. legacy: a warning to users of a target that
    will disappear, or "". complete: returns further files of a bundle, given the specifications of its graphs, their
    engines, the manifest's record of golden vectors, and the files so far. adopt: writes graphs of ONNX files instead,
    or None. sizes: returns the sizes of named axes that the contract of a bundle fixes, given the specifications of its
    graphs and the sizes that they advise; `write` is given the graphs without them. It is None for a target whose
    graphs may have free axes. unproven: returns a sentence if the gate on this machine proves less than the whole
    artifact, else "".
    """

    name: str
    suffix: str
    write: Callable[[Sequence[Graph], Quantization, Mapping[str, bytes]], Mapping[str, Artifact]]
    engine: type[BundleEngine]
    inspect: Callable[[bytes], GraphReport]
    precisions: tuple[str, ...] = ("fp32",)
    options: tuple[str, ...] = ()
    legacy: str = ""
    complete: Complete | None = None
    adopt: Callable[[Sequence[OnnxGraph]], Mapping[str, Artifact]] | None = None
    sizes: Callable[[Sequence[GraphSpec], Mapping[str, int]], Mapping[str, int]] | None = None
    unproven: Callable[[], str] = str


def one_file_each(
    write: Callable[[Graph, Quantization], Artifact],
) -> Callable[[Sequence[Graph], Quantization, Mapping[str, bytes]], dict[str, Artifact]]:
    """Return a function that exports several graphs, each to a file of its own, with one that exports a graph."""

    def write_each(
        graphs: Sequence[Graph], quantization: Quantization, assets: Mapping[str, bytes]
    ) -> dict[str, Artifact]:
        return {graph.spec.name: write(graph, quantization.exempting(graph.exact)) for graph in graphs}

    return write_each


class Positional(nn.Module):
    """Calls a module with a tuple of tensors, whatever its own signature is."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> Any:
        """Return the result of the module, or a plain tuple of several results."""
        results = self.module(*tensors)
        return tuple(results) if isinstance(results, tuple) else results


def weight_name(name: str) -> str:
    """Return the network's own name of weights that are called `name` inside `Positional`."""
    return name.removeprefix("module.")


def is_matrix(shape: Sequence[int]) -> bool:
    """Return whether weights of this shape are quantised; vectors are too small to gain from it."""
    return sum(size > 1 for size in shape) > 1


def compiled_part(module: nn.Module) -> str:
    """Return a sentence if a part of a module is compiled, which torch.export does not support; else ""."""
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            return f"its part {name or 'itself'} is compiled by torch.jit.script: use the module that was compiled"
    return ""


def root_cause(error: Exception) -> str:
    """Return the message of the innermost cause, since an exporter's own exception does not name what failed."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return first_line(error)


@contextmanager
def suppress_output() -> Iterator[None]:
    """Silence libraries that print, log and warn while they export; exceptions are still raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a bundle, by their names, which may include folders."""
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
