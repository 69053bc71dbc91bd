"""The target for WebAssembly: the code of the C target, compiled by clang with SIMD128 and without.

The gate drives the code in C, compiled for this machine. Where Node is installed, it also steps both modules, and their
bits must be the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgernn.contract import GraphSpec
from edgernn.exporters.c.webassembly import BASE, NODE, SIMD, compile_module, replay, require_clang
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import Artifact, GraphReport, OnnxGraph, Target
from edgernn.exporters.targets.c import CodeOptions, c_target, report
from edgernn.models import Graph
from edgernn.runtime import Engine
from edgernn.runtime.compiled import about
from edgernn.runtime.wasm import WasmEngine, about_module

__all__ = ["WASM", "wasm_target"]


def wasm_target(options: CodeOptions) -> Target:
    """Return the target for WebAssembly with these options. The weights are a blob, which both modules read."""
    code = c_target(replace(options, weights="blob"))
    assert code.adopt is not None
    assert code.sizes is not None
    adopt, sizes = code.adopt, code.sizes

    def write_all(
        graphs: Sequence[Graph], quantization: Quantization, assets: Mapping[str, bytes]
    ) -> dict[str, Artifact]:
        return _compiled(code.write(graphs, quantization, assets))

    def adopt_all(graphs: Sequence[OnnxGraph]) -> dict[str, Artifact]:
        return _compiled(adopt(graphs))

    def complete(
        specs: Sequence[GraphSpec], engines: Mapping[str, Engine], golden: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        if shutil.which(NODE):
            names = [_module(options.name), _base(options.name)]
            replay(names, about_module(files[names[0]]), specs, engines, golden, files)
        return {}

    def fixed(specs: Sequence[GraphSpec], advised: Mapping[str, int]) -> Mapping[str, int]:
        require_clang()  # here, since this is asked for before all else
        return sizes(specs, advised)

    return replace(
        code,
        name="wasm",
        suffix=".wasm",
        write=write_all,
        engine=WasmEngine,
        inspect=_inspect,
        complete=complete,
        adopt=adopt_all,
        sizes=fixed,
        unproven=_unproven,
    )


def _compiled(artifacts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Return artifacts in C as those of the modules of which the code becomes a part. All share one source file."""
    source = next(iter(artifacts.values())).data
    record = about(source)
    simd, base = (compile_module(source, record, features) for features in (SIMD, BASE))
    name = record["name"]
    return {
        graph: replace(
            each, data=simd, name=_module(name), files={**each.files, f"{name}.c": source, _base(name): base}
        )
        for graph, each in artifacts.items()
    }


def _module(name: str) -> str:
    return f"{name}.wasm"


def _base(name: str) -> str:
    return f"{name}.base.wasm"


def _inspect(data: bytes) -> GraphReport:
    return report(about_module(data))


def _unproven() -> str:
    """Return what the export does not prove on a machine without Node."""
    if shutil.which(NODE):
        return ""
    return "Node is not installed: the code was proven as it runs in C, and its modules of WebAssembly were not run"


WASM = wasm_target(CodeOptions())
