"""The C target: one C99 source file with its header, generated from the ONNX graphs at fixed sizes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgernn.arrays import from_npy
from edgernn.bundle import TOKENIZER
from edgernn.contract import BATCH, Array, FromFile, GraphSpec
from edgernn.errors import ConfigError, ExportError, MissingSizeError
from edgernn.exporters.c.check import check
from edgernn.exporters.c.folding import fold
from edgernn.exporters.c.interface import read_bytes, size_in_bytes
from edgernn.exporters.c.operators import lower
from edgernn.exporters.c.program import RESERVED, Program
from edgernn.exporters.c.source import write
from edgernn.exporters.c.texts import NO_TEXTS, Texts, texts
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.sizes import advised, padded_axes
from edgernn.exporters.target import Artifact, GraphReport, OnnxGraph, Target
from edgernn.exporters.targets.onnx import parse, products_of, write_both
from edgernn.models import Graph
from edgernn.runtime import Engine
from edgernn.runtime.compiled import CompiledEngine, about
from edgernn.tokenizer import Tokenizer

__all__ = ["C", "CodeOptions", "c_target", "report"]

WEIGHTS = ("auto", "array", "blob")
_LARGEST_ARRAY = 1 << 20  # bytes; compilers take seconds and hundreds of megabytes for larger ones
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")


@dataclass(frozen=True)
class CodeOptions:
    """The caller's choices of the generated code.

    name: what public names and the files begin with. weights: "array" in the source file, "blob" in a file of their
    own, or "auto", which is a blob above 1 MiB. sizes: of the named axes other than the batch.

    Raises ConfigError for a name that is no identifier of C, or impossible sizes.
    """

    name: str = "model"
    weights: str = "auto"
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.name) or self.name in RESERVED:
            raise ConfigError(f"the name {self.name[:60]!r} (--name) is no identifier of C, such as model")
        if self.weights not in WEIGHTS:
            raise ConfigError(f"weights {self.weights[:20]!r} (--weights) is not one of {', '.join(WEIGHTS)}")
        for axis, size in self.sizes.items():
            if size < 1:
                raise ConfigError(f"the size {size} (--size) of the axis {axis} is below 1")


def c_target(options: CodeOptions) -> Target:
    """Return the C target with these options."""

    def write_all(
        graphs: Sequence[Graph], quantization: Quantization, assets: Mapping[str, bytes]
    ) -> dict[str, Artifact]:
        sizes = _sizes([graph.spec for graph in graphs], advised(graphs), options.sizes)
        return _write([_converted(graph, quantization) for graph in graphs], sizes, assets, options)

    def adopt(graphs: Sequence[OnnxGraph]) -> dict[str, Artifact]:
        return _write(graphs, {}, {}, options)

    def complete(
        specs: Sequence[GraphSpec], engines: Mapping[str, Engine], golden: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        program = check(about(files[f"{options.name}.c"]), specs, engines, golden, files)
        return {f"{options.name}_check.c": program.encode()}

    return Target(
        "c",
        ".c",
        write_all,
        CompiledEngine,
        _inspect,
        ("fp32", "fp16", "int8", "int4"),
        ("keep", "block"),
        complete=complete,
        adopt=adopt,
        sizes=lambda specs, advised: _fixed(specs, advised, options.sizes),
    )


def _converted(graph: Graph, quantization: Quantization) -> OnnxGraph:
    _, data, weights = write_both(graph, quantization.exempting(graph.exact))
    return OnnxGraph(graph.spec, data, weights, initial=_initial(graph))


def _write(
    graphs: Sequence[OnnxGraph], sizes: Mapping[str, int], assets: Mapping[str, bytes], options: CodeOptions
) -> dict[str, Artifact]:
    programs: list[Program] = []
    described: dict[str, dict[str, Any]] = {}
    for graph in graphs:
        folded = fold(graph.data, graph.spec, sizes)
        programs.append(lower(folded, graph.initial))
        described[graph.spec.name] = {
            "sizes": {axis: sizes[axis] for axis in graph.spec.free_axes},
            "operators": dict(Counter(node.operator for node in folded.nodes)),
            "multiply_accumulates": products_of(parse(graph.data)),
            "scratch": size_in_bytes(programs[-1], "scratch"),
            "weights": size_in_bytes(programs[-1], "weights"),
            "read": read_bytes(programs[-1]),
        }
    total = sum(each["weights"] for each in described.values())
    blob = options.weights == "blob" or (options.weights == "auto" and total > _LARGEST_ARRAY)
    added = NO_TEXTS
    if TOKENIZER in assets:
        added = texts([graph.spec for graph in graphs], Tokenizer.from_json(assets[TOKENIZER].decode()))
    _check_names([graph.spec.name for graph in graphs], added)
    record = {"edgernn": "c", "name": options.name, "blob": blob, "sampler": added.constants, "graphs": described}
    code = write(options.name, programs, about=json.dumps(record), blob=blob, texts=added)
    files = {f"{options.name}.h": code.header.encode()}
    if code.weights is not None:
        files[f"{options.name}.bin"] = code.weights
    return {
        graph.spec.name: Artifact(
            code.source.encode(),
            graph.weights,
            files=files,
            name=f"{options.name}.c",
            size=described[graph.spec.name]["weights"],
        )
        for graph in graphs
    }


def _check_names(graphs: Sequence[str], added: Texts) -> None:
    """Raise ExportError for a graph whose name would be no identifier, or that of something else in the header."""
    taken = {"level", "is_blob", *re.findall(r"\bNAME_(\w+)", added.header)}
    for name in graphs:
        if "." in name or name in taken:
            raise ExportError(f"the graph name {name!r} cannot be a function in C: give the graph another one")


def _initial(graph: Graph) -> dict[str, Array]:
    """Return the first values of the states that begin as a tensor of the bundle, with their full shapes."""
    files = {name: from_npy(data, name) for name, data in graph.files().items()}
    states = (state for state in graph.spec.states if isinstance(state.initial, FromFile))
    return {state.name: state.first({BATCH: 1}, files) for state in states}


def _sizes(specs: Sequence[GraphSpec], advised: Mapping[str, int], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the size of each named axis other than the batch: as the caller chose it, or as the graphs advise.

    Raises ConfigError for an axis that no graph has, MissingSizeError for axes without a size.
    """
    free: dict[str, tuple[str, str]] = {}
    for spec in specs:
        free |= {axis: (spec.name, name) for axis, name in spec.free_axes.items() if axis not in free}
    for axis in chosen:
        if axis not in free:
            raise ConfigError(f"there is no axis {axis[:60]!r} to give a size (--size): {_free(sorted(free))}")
    known = {axis: size for axis, size in advised.items() if axis in free} | dict(chosen)
    if missing := [axis for axis in free if axis not in known]:
        where = ", ".join(f"{axis} (of {free[axis][1]} in the graph {free[axis][0]})" for axis in missing)
        needed = " ".join(f"--size {axis}=N" for axis in missing)
        raise MissingSizeError(f"C has no free axes, and needs the size of {where}: give {needed}")
    return known


def _fixed(specs: Sequence[GraphSpec], advised: Mapping[str, int], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes that the contract fixes: of all axes but those along which shorter sequences are padded."""
    padded = padded_axes(specs)
    return {axis: size for axis, size in _sizes(specs, advised, chosen).items() if axis not in padded}


def _free(axes: Sequence[str]) -> str:
    return f"the free axes are {', '.join(axes)}" if axes else "the network has no free axis, so leave it out"


def _inspect(data: bytes) -> GraphReport:
    return report(about(data))


def report(record: Mapping[str, Any]) -> GraphReport:
    """Return the contents of generated code, of which it has this record."""
    graphs = record["graphs"].values()
    operators: Counter[str] = Counter()
    for each in graphs:
        operators.update(each["operators"])
    products, size = (sum(each[name] for each in graphs) for name in ("multiply_accumulates", "weights"))
    return GraphReport(None, operators, multiply_accumulates=products, bytes=size)


C = c_target(CodeOptions())
