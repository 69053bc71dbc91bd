"""Report the contents of a bundle, or of any ONNX file."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.bundle import Bundle
from edgernn.contract import contract_to_json, graph_to_json
from edgernn.errors import BundleError, EngineError
from edgernn.exporters.adoption.reading import external_bytes
from edgernn.exporters.target import GraphReport
from edgernn.exporters.targets import TARGETS
from edgernn.exporters.targets.onnx import ONNX

__all__ = ["inspect_bundle", "inspect_onnx"]


def inspect_bundle(path: Path) -> dict[str, Any]:
    """Return the report on a bundle. Raises BundleError if it is damaged."""
    bundle = Bundle.load(path)
    manifest = bundle.manifest
    if manifest.target not in TARGETS:
        raise BundleError(
            f"{path} is for {manifest.target}, which this edgernn cannot inspect: it knows {', '.join(TARGETS)}"
        )
    graphs = dict.fromkeys(bundle.graph(graph.name) for graph in manifest.contract.graphs)  # one file may hold several
    about = {name: getattr(manifest, name) for name in ("task", "target", "precision", "digest")}
    reports = [TARGETS[manifest.target].inspect(graph) for graph in graphs]
    sizes = [len(graph) if each.bytes is None else each.bytes for graph, each in zip(graphs, reports, strict=True)]
    values = {**about, **_together(reports, contract_to_json(manifest.contract), sum(sizes))}
    if manifest.precision != "fp32" or values["parameters"] is None:
        values["parameters"] = manifest.provenance.get("parameters")
    records = {name: dict(getattr(manifest, name)) for name in ("weights", "provenance", "parity")}
    quantised = any(weight["bits"] < _HALF for graph in manifest.weights.values() for weight in graph)
    return {**values, "quantised": quantised, **records}


def inspect_onnx(path: Path) -> dict[str, Any]:
    """The report on a lone ONNX file, with the weights in files beside it. Raises EngineError if it is none."""
    beside = external_bytes(path)
    data = path.read_bytes()
    size = len(data) + beside
    try:
        report = ONNX.inspect(data)
    except (ValueError, LookupError):  # a node with fewer inputs than its operator has, for instance
        raise EngineError(f"{path} is not an ONNX file, or a damaged one") from None
    return _together([report], None if report.contract is None else {"graphs": [graph_to_json(report.contract)]}, size)


def _floor(size: int) -> float:
    """Return the time in microseconds in which this machine reads `size` bytes once: a lower bound of a step's time."""
    weights = np.zeros(max(1, size // 8), np.int64)
    times = []
    for _ in range(_READS):
        begun = time.perf_counter()
        weights.max()
        times.append(time.perf_counter() - begun)
    return round(1e6 * statistics.median(times), 1)


_READS = 25
_HALF = 16  # bits of fp16, which is not an integer type


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _together(reports: list[GraphReport], contract: dict[str, Any] | None, size: int) -> dict[str, Any]:
    operators: Counter[str] = Counter()
    for report in reports:
        operators.update(report.operators)
    return {
        "contract": contract,
        "parameters": _sum(report.parameters for report in reports),
        "bytes": size,
        "operators": dict(operators),
        "opset": reports[0].opset,
        "ir_version": reports[0].ir_version,
        "quantised": any(report.quantised for report in reports),
        "inputs": [given for report in reports for given in report.inputs],
        "outputs": [made for report in reports for made in report.outputs],
        "tensors": [asdict(tensor) for report in reports for tensor in report.tensors],
        "multiply_accumulates": _sum(report.multiply_accumulates for report in reports),
        "floor_us": _floor(size),
    }
