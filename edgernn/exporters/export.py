"""From a trained network to a proven bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import edgernn
from edgernn.arrays import from_npy, to_npy
from edgernn.bundle import TOKENIZER, Bundle, Manifest, new_bundle
from edgernn.contract import Contract, GraphSpec
from edgernn.engines import ENGINES, EagerEngine
from edgernn.errors import CheckFailedError, ConfigError, ExportError, MissingExtraError, ParityError, few
from edgernn.exporters.check import check_graph
from edgernn.exporters.executorch import EXECUTORCH
from edgernn.exporters.held_out import HeldOut, HeldOutPictures, HeldOutText
from edgernn.exporters.onnx import ONNX
from edgernn.exporters.ort import ORT
from edgernn.exporters.precision import Quantization
from edgernn.exporters.target import Artifact, Target
from edgernn.exporters.torchscript import TORCHSCRIPT
from edgernn.models import Graph, Network, weights_digest
from edgernn.runtime import Engine
from edgernn.runtime.golden import record, replay
from edgernn.runtime.parity import STEPS, TOLERANCES, ExactMatches, Inputs, Loss, Parity, compare, tolerance_of, worst
from edgernn.tokenizer import Tokenizer
from edgernn.training import Run, load_run
from edgernn.training.captioning import CaptionRun
from edgernn.training.run import HELD_OUT

__all__ = ["TARGETS", "Exported", "Source", "export", "verify"]

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, ORT, TORCHSCRIPT, EXECUTORCH)}

_LOOKS = 16  # at graphs without state, of which every step is the first
_LANES = 16  # streams that the loss is measured on, each of as many steps as the gate takes


@dataclass(frozen=True)
class Source:
    """What is exported: a network in evaluation mode, its tokenizer if it has one, and where it came from.

    held_out: what the artifact is driven with and its loss is measured on; random inputs are taken where there is none.
    """

    network: Network
    tokenizer: Tokenizer | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    held_out: HeldOut | None = None

    @classmethod
    def load(cls, path: str | Path) -> Source:
        """The run at `path`. Raises RunError, which says what is wrong with it."""
        run = load_run(path)
        network = run.network()
        held_out = _text(run) if isinstance(run, Run) else _pictures(run, network)
        return cls(network, run.tokenizer, run.settings(), held_out)

    def inputs(self, spec: GraphSpec) -> Inputs | None:
        """What a graph is given, step by step; None for anything."""
        return None if self.held_out is None else self.held_out.inputs(spec)

    def graphs(self) -> tuple[Graph, ...]:
        """Those of the network, with what they are calibrated by."""
        graphs = self.network.graphs()
        if self.held_out is None:
            return graphs
        return tuple(replace(graph, examples=self.held_out.calibration(graph.spec)) for graph in graphs)


def _text(run: Run) -> HeldOutText:
    tokens = run.tokens(HELD_OUT)
    starts = (lane * len(tokens) // _LANES for lane in range(_LANES))
    return HeldOutText(np.stack([tokens.read(start, STEPS + 1) for start in starts]))


def _pictures(run: CaptionRun, network: Network) -> HeldOutPictures:
    kept = {name: tensor.numpy() for name, tensor in run.pictures().items()}
    images, tokens, targets = (kept[f"dev.{name}"] for name in ("images", "tokens", "targets"))
    return HeldOutPictures(
        images, tokens, targets, others=kept["train.images"], tokenizer=run.tokenizer, graphs=network.graphs()
    )


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
    precision: str | Quantization = "fp32",
    steps: int = STEPS,
    overwrite: bool = False,
) -> Exported:
    """Export `source` to a bundle at `out`, which appears only if it passes the parity gate over `steps` steps.

    Raises ConfigError for a target or precision that does not exist, OutputExistsError, ExportError and ParityError.
    """
    if steps < 1:
        raise ConfigError(f"steps {steps}: the gate takes at least one")
    precision = Quantization(precision) if isinstance(precision, str) else precision
    with _one_thread():
        return _export(source, Path(out), _target(target, precision), precision, steps, overwrite=overwrite)


def _export(
    source: Source, out: Path, target: Target, precision: Quantization, steps: int, *, overwrite: bool
) -> Exported:
    begun = time.perf_counter()
    graphs = source.graphs()
    contract = Contract(tuple(graph.spec for graph in graphs))
    engines: dict[str, Engine] = {}
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
            engine = engines[graph.spec.name] = target.engine(artifact.data, graph.spec)
            parities.append(_compare(reference, engine, graph, source, precision.name, steps))
            replay(engine, graph.spec, golden[graph.spec.name], files, precision.name)
        parity = check_held_out(worst(parities), engines, graphs, source, precision.name)
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
                parity=parity.to_json(),
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
        parity=parity,
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
    precision = manifest.precision
    with _one_thread():
        engines = {graph.spec.name: _engine(loaded, graph.spec) for graph in graphs}
        parities = [
            _compare(EagerEngine(each.source, each.spec), engines[each.spec.name], each, source, precision, steps)
            for each in graphs
        ]
        return check_held_out(worst(parities), engines, graphs, source, precision)


def _engine(loaded: Bundle, spec: GraphSpec) -> Engine:
    target, data = loaded.manifest.target, loaded.graph(spec.name)
    if TARGETS[target].inspect(data).contract not in (None, spec):
        raise CheckFailedError(f"the contract in the file of graph {spec.name} is another than the bundle's")
    return ENGINES[target](data, spec)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Single steps are too small to share: on a busy machine waiting for each other takes ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compare(reference: Engine, artifact: Engine, graph: Graph, source: Source, precision: str, steps: int) -> Parity:
    """Raise ParityError unless one graph of the artifact behaves like its reference."""
    spec = graph.spec
    steps = steps if spec.states else min(steps, _LOOKS)
    tolerance = tolerance_of(precision, spec)
    return compare(reference, artifact, spec, tolerance=tolerance, steps=steps, inputs=source.inputs(spec))


def check_held_out(
    parity: Parity, engines: Mapping[str, Engine], graphs: Sequence[Graph], source: Source, precision: str
) -> Parity:
    """Raise ParityError unless the graphs together predict held-out data as well as the source, and say the same."""
    held_out = source.held_out
    if held_out is None:
        return parity
    references = {graph.spec.name: EagerEngine(graph.source, graph.spec) for graph in graphs}
    said, meant = (held_out.answers(each, graphs) for each in (engines, references))
    if said:
        same = sum(one == other for one, other in zip(said, meant, strict=True))
        parity = replace(parity, answers=ExactMatches(same, len(said)))
        if precision == "fp32" and same < len(said):
            raise ParityError(f"{len(said) - same} of {len(said)} captions are not the source's", parity.to_json())
    if precision == "fp32":
        return parity
    before, after = (held_out.loss(each, graphs) for each in (references, engines))
    parity = replace(parity, loss=Loss(before, after, held_out.tokens))
    limit = parity.tolerance.loss
    if not after - before <= limit:
        raise ParityError(
            f"the loss on held-out data rises from {before:.4f} to {after:.4f} nats per token, by more than {limit:g}",
            parity.to_json(),
        )
    return parity


def _golden(reference: Engine, graph: Graph, source: Source) -> tuple[dict[str, Any], dict[str, bytes]]:
    initial = {name: from_npy(data, name) for name, data in graph.files().items()}
    about, arrays = record(reference, graph.spec, initial, source.inputs(graph.spec))
    return about, {name: to_npy(array) for name, array in arrays.items()}


def _same_tokenizer(bundle: Bundle, source: Source) -> bool:
    theirs = bundle.tokenizer()
    if theirs is None or source.tokenizer is None:
        return theirs is source.tokenizer
    return theirs.to_json() == source.tokenizer.to_json()


def _write(target: Target, graph: Graph, precision: Quantization) -> Artifact:
    try:
        return target.write(graph, precision)
    except ExportError as error:
        others = [name for name in TARGETS if name != target.name and _takes(TARGETS[name], graph, precision)]
        advice = f"it can be exported to {', '.join(others)}" if others else "no other target takes it so either"
        raise ExportError(f"{error}; {advice}") from error


def _takes(target: Target, graph: Graph, precision: Quantization) -> bool:
    if precision.name not in target.precisions or set(precision.changed) - set(target.options):
        return False
    try:
        target.write(graph, precision)
    except (ExportError, MissingExtraError):
        return False
    return True


def _target(name: str, precision: Quantization) -> Target:
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


def _check_kept(weights: Mapping[str, Sequence[Mapping[str, Any]]], precision: Quantization) -> None:
    names = [weight["name"] for graph in weights.values() for weight in graph]
    for pattern in precision.keep:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"--keep {pattern} matches none of the matrices: {few(names)}")


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _tools() -> dict[str, str]:
    return {"edgernn": edgernn.__version__, **{name: version(name) for name in ("torch", "onnx", "onnxruntime")}}
