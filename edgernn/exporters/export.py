"""From a trained network to a proven bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

import edgernn
from edgernn.arrays import from_npy, to_npy
from edgernn.bundle import TOKENIZER, Bundle, Manifest, new_bundle
from edgernn.contract import Contract
from edgernn.engines import ENGINES, EagerEngine
from edgernn.errors import CheckFailedError, ConfigError, ExportError, MissingExtraError, ParityError
from edgernn.exporters.check import check_graph
from edgernn.exporters.executorch import EXECUTORCH
from edgernn.exporters.loss import text_loss
from edgernn.exporters.onnx import ONNX
from edgernn.exporters.ort import ORT
from edgernn.exporters.precision import Precision
from edgernn.exporters.target import Artifact, Target
from edgernn.exporters.torchscript import TORCHSCRIPT
from edgernn.models import Graph, Network, weights_digest
from edgernn.runtime import Engine
from edgernn.runtime.engine import few
from edgernn.runtime.golden import record, replay
from edgernn.runtime.parity import STEPS, TOLERANCES, Inputs, Loss, Parity, compare, worst
from edgernn.runtime.stream import TOKEN
from edgernn.tokenizer import Ids, Tokenizer
from edgernn.training import Run
from edgernn.training.run import HELD_OUT

__all__ = ["TARGETS", "Exported", "Source", "export", "verify"]

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, ORT, TORCHSCRIPT, EXECUTORCH)}

_LANES = 16  # streams that the loss is measured on, each of as many steps as the gate takes


@dataclass(frozen=True)
class Source:
    """What is exported: a network in evaluation mode, its tokenizer if it has one, and where it came from.

    held_out: tokens (streams, steps + 1) that the artifact is driven with and its loss is measured on; random inputs
    are taken where there are none.
    """

    network: Network
    tokenizer: Tokenizer | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    held_out: Ids | None = None

    @classmethod
    def load(cls, path: str | Path) -> Source:
        """The run at `path`. Raises RunError, which says what is wrong with it."""
        run = Run.load(path)
        about = {"model": run.model.to_json(), "training": run.training.to_json(), "corpus": asdict(run.corpus)}
        tokens = run.tokens(HELD_OUT)
        starts = (lane * len(tokens) // _LANES for lane in range(_LANES))
        return cls(run.network(), run.tokenizer, about, np.stack([tokens.read(start, STEPS + 1) for start in starts]))

    @property
    def inputs(self) -> Inputs | None:
        """The tokens of so many streams of held-out text, step by step, again and again; None without text."""
        held_out = self.held_out
        if held_out is None:
            return None
        return lambda streams: ({TOKEN: np.ascontiguousarray(ids)} for ids in cycle(held_out[:streams].T))


@dataclass(frozen=True)
class Exported:
    """A bundle that passed the gate. bytes: of its graph files; bundle_bytes: of all its files."""

    path: Path
    target: str
    precision: str
    bytes: int
    bundle_bytes: int
    seconds: float
    parity: Parity

    def to_json(self) -> dict[str, Any]:
        """As `export --json` prints it."""
        return {
            "bundle": str(self.path),
            "target": self.target,
            "precision": self.precision,
            "bytes": self.bytes,
            "bundle_bytes": self.bundle_bytes,
            "seconds": self.seconds,
            "parity": self.parity.to_json(),
        }


def export(
    source: Source,
    out: str | Path,
    *,
    target: str = "onnx",
    precision: str | Precision = "fp32",
    steps: int = STEPS,
    overwrite: bool = False,
) -> Exported:
    """Export `source` to a bundle at `out`, which appears only if it passes the parity gate over `steps` steps.

    Raises ConfigError for a target or precision that does not exist, OutputExistsError, ExportError and ParityError.
    """
    if steps < 1:
        raise ConfigError(f"steps {steps}: the gate takes at least one")
    precision = Precision(precision) if isinstance(precision, str) else precision
    with _one_thread():
        return _export(source, Path(out), _target(target, precision), precision, steps, overwrite=overwrite)


def _export(
    source: Source, out: Path, target: Target, precision: Precision, steps: int, *, overwrite: bool
) -> Exported:
    begun = time.perf_counter()
    graphs = source.network.graphs()
    contract = Contract(tuple(graph.spec for graph in graphs))
    parities, names, weights, golden = [], {}, {}, {}
    with new_bundle(out, overwrite=overwrite) as writer:
        for graph in graphs:
            check_graph(graph)
            artifact = _write(target, graph, precision)
            reference = EagerEngine(graph.source, graph.spec)
            names[graph.spec.name] = f"{graph.spec.name}{target.suffix}"
            weights[graph.spec.name] = [weight.to_json() for weight in artifact.weights]
            golden[graph.spec.name], vectors = _golden(reference, graph, source)
            files = {names[graph.spec.name]: artifact.data, **artifact.files, **graph.files(), **vectors}
            for name, content in files.items():
                (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
                (writer.directory / name).write_bytes(content)
            engine = target.engine(artifact.data, graph.spec)
            parities.append(_gate(reference, engine, graph, source, precision.name, steps))
            replay(engine, graph.spec, golden[graph.spec.name], files, precision.name)
        _check_kept(weights, precision)
        if source.tokenizer is not None:
            (writer.directory / TOKENIZER).write_text(source.tokenizer.to_json(), encoding="utf-8")
        writer.finish(
            Manifest(
                task=source.network.task,
                target=target.name,
                precision=precision.name,
                digest=weights_digest(source.network, contract),
                contract=contract,
                graphs=names,
                provenance={**_tools(), "parameters": _parameters(source.network), **source.provenance},
                parity=worst(parities).to_json(),
                weights=weights if precision.name != "fp32" else {},
                golden=golden,
            )
        )
    return Exported(
        out,
        target.name,
        precision.name,
        bytes=sum((out / file).stat().st_size for file in names.values()),
        bundle_bytes=sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        seconds=time.perf_counter() - begun,
        parity=worst(parities),
    )


def verify(bundle: str | Path, source: Source, *, steps: int = STEPS) -> Parity:
    """Check again that the bundle is `source`: contract and tokenizer, and `steps` chained steps of every graph.

    Raises CheckFailedError if it was made from something else, ParityError if it differs, BundleError if it is damaged.
    """
    loaded = Bundle.load(bundle)
    manifest = loaded.manifest
    if manifest.target not in ENGINES or manifest.precision not in TOLERANCES:
        raise ConfigError(f"{bundle}: no engine here for {manifest.target} at {manifest.precision}")
    graphs = source.network.graphs()
    contract = Contract(tuple(graph.spec for graph in graphs))
    for what, same in (
        ("weights", manifest.digest == weights_digest(source.network, contract)),
        ("contract", manifest.contract == contract),
        ("task", manifest.task == source.network.task),
        ("tokenizer", _same_tokenizer(loaded, source)),
        ("initial state", all(graph.files().items() <= loaded.files.items() for graph in graphs)),
    ):
        if not same:
            raise CheckFailedError(f"{bundle} was exported from another {what}; export it again")
    with _one_thread():
        return worst([_check(loaded, graph, source, steps) for graph in graphs])


def _check(loaded: Bundle, graph: Graph, source: Source, steps: int) -> Parity:
    manifest, data = loaded.manifest, loaded.graph(graph.spec.name)
    if TARGETS[manifest.target].inspect(data).contract not in (None, graph.spec):
        raise CheckFailedError(f"the contract in the file of graph {graph.spec.name} is another than the bundle's")
    artifact = ENGINES[manifest.target](data, graph.spec)
    return _gate(EagerEngine(graph.source, graph.spec), artifact, graph, source, manifest.precision, steps)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Single steps are too small to share: on a busy machine waiting for each other takes ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _gate(reference: Engine, artifact: Engine, graph: Graph, source: Source, precision: str, steps: int) -> Parity:
    """Raise ParityError unless `artifact` behaves like `reference`, and predicts held-out text as well."""
    tolerance = TOLERANCES[precision]
    parity = compare(reference, artifact, graph.spec, tolerance=tolerance, steps=steps, inputs=source.inputs)
    if precision == "fp32" or source.held_out is None:
        return parity
    ids = source.held_out[:, : steps + 1]
    before, after = (text_loss(engine, graph, ids) for engine in (reference, artifact))
    parity = replace(parity, loss=Loss(before, after, ids.size - len(ids)))
    if not after - before <= tolerance.loss:
        raise ParityError(
            f"graph {graph.spec.name}: the loss on held-out text rises from {before:.4f} to {after:.4f} nats per "
            f"token, by more than {tolerance.loss:g}",
            parity.to_json(),
        )
    return parity


def _golden(reference: Engine, graph: Graph, source: Source) -> tuple[dict[str, Any], dict[str, bytes]]:
    initial = {name: from_npy(data, name) for name, data in graph.files().items()}
    about, arrays = record(reference, graph.spec, initial, source.inputs)
    return about, {name: to_npy(array) for name, array in arrays.items()}


def _same_tokenizer(bundle: Bundle, source: Source) -> bool:
    theirs = bundle.tokenizer()
    if theirs is None or source.tokenizer is None:
        return theirs is source.tokenizer
    return theirs.to_json() == source.tokenizer.to_json()


def _write(target: Target, graph: Graph, precision: Precision) -> Artifact:
    try:
        return target.write(graph, precision)
    except ExportError as error:
        others = [name for name in TARGETS if name != target.name and _takes(TARGETS[name], graph, precision)]
        advice = f"it can be exported to {', '.join(others)}" if others else "no other target takes it so either"
        raise ExportError(f"{error}; {advice}") from error


def _takes(target: Target, graph: Graph, precision: Precision) -> bool:
    if precision.name not in target.precisions or set(precision.changed) - set(target.options):
        return False
    try:
        target.write(graph, precision)
    except (ExportError, MissingExtraError):
        return False
    return True


def _target(name: str, precision: Precision) -> Target:
    if name not in TARGETS:
        raise ConfigError(f"--to {name}: there is {', '.join(TARGETS)}")
    target = TARGETS[name]
    if precision.name not in target.precisions:
        raise ConfigError(f"--precision {precision.name}: {name} has {', '.join(target.precisions)}")
    for option in precision.changed:
        if option not in target.options:
            known = ", ".join(each.name for each in TARGETS.values() if option in each.options)
            raise ConfigError(f"--{option.replace('_', '-')}: {name} has no such choice; {known} has")
    return target


def _check_kept(weights: Mapping[str, Sequence[Mapping[str, Any]]], precision: Precision) -> None:
    names = [weight["name"] for graph in weights.values() for weight in graph]
    for pattern in precision.keep:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"--keep {pattern} matches none of the matrices: {few(names)}")


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _tools() -> dict[str, str]:
    return {"edgernn": edgernn.__version__, **{name: version(name) for name in ("torch", "onnx", "onnxruntime")}}
