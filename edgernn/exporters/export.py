"""Export a trained network to a bundle that has passed the parity gate."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import edgernn
from edgernn.bundle import MANIFEST, Bundle, Manifest, new_bundle
from edgernn.contract import Contract, FromFile, GraphSpec, with_kinds
from edgernn.engines import ENGINES, eager_model
from edgernn.errors import (
    BundleError,
    CheckFailedError,
    ConfigError,
    ExportError,
    TokenizerError,
    few,
)
from edgernn.execution import DEFAULT, Execution
from edgernn.exporters.capture.parametrizations import settled
from edgernn.exporters.checks import check_graphs, unconfirmed, warn
from edgernn.exporters.gate.prove import STEPS, prove
from edgernn.exporters.gate.real_inputs import Examples, RealInputs
from edgernn.exporters.quantisation.calibration import calibrated
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.report import check_quantised, larger, summary
from edgernn.exporters.sizes import advised, at_sizes, fixed_sizes, held_out_at
from edgernn.exporters.target import Artifact, Target, Weight, write_files
from edgernn.exporters.targets import TARGETS, chosen_target
from edgernn.models import Network, Source, weights_digest
from edgernn.runtime import Engine, Model
from edgernn.runtime.golden import replay
from edgernn.runtime.parity import TOLERANCES, Parity

__all__ = ["Exported", "export", "verify"]

_ASSET = re.compile(r"\w[\w.-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class Exported:
    """A bundle that passed the parity gate.

    bytes: the total size of its graph files. bundle_bytes: the total size of all its files. weights: how each matrix is
    stored, by graph; empty at fp32. single_bytes: the total size of the graph files at fp32, or a lower bound of it if
    that exceeds `bytes` already; None at fp32. unproven: a sentence on what the gate could not prove here, or "".
    """

    path: Path
    target: str
    precision: str
    bytes: int
    bundle_bytes: int
    seconds: float
    parity: Parity
    weights: Mapping[str, Sequence[Weight]]
    single_bytes: int | None
    warnings: tuple[str, ...] = ()
    unproven: str = ""

    @property
    def report(self) -> tuple[str, ...]:
        """Sentences on matrices that were not quantised, a missing gain in size, and what could not be proven here."""
        lines = (
            summary(self.precision, self.weights),
            larger(self.precision, self.bytes, self.single_bytes),
            self.unproven,
        )
        return tuple(line for line in lines if line)

    def __repr__(self) -> str:
        return f"<Exported {self.path}: {self.target} {self.precision}, {self.bytes:,} bytes, {self.seconds:.1f} s>"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `export --json` prints them."""
        return {
            "bundle": str(self.path),
            "target": self.target,
            "precision": self.precision,
            "bytes": self.bytes,
            "bundle_bytes": self.bundle_bytes,
            "seconds": self.seconds,
            "parity": self.parity.to_json(),
            "warnings": list(self.warnings),
            "report": list(self.report),
        }


def export(
    source: Source,
    out: str | Path,
    *,
    target: str | Target = "onnx",
    precision: str | Quantization = "fp32",
    steps: int = STEPS,
    overwrite: bool = False,
    examples: Examples | None = None,
    tolerance: Mapping[str, float] | None = None,
    confirm: Collection[str] = (),
) -> Exported:
    """Export `source` to a bundle at `out`, which is written only if it passes the parity gate over `steps` steps.

    examples: real inputs, as `RealInputs` accepts them. tolerance: limits of the gate by name, which replace those of
    the precision and are recorded in the bundle. confirm: names of states and attributes whose warnings the caller has
    checked and suppresses.
    Raises ConfigError for a target or precision that does not exist, OutputExistsError, ExportError and ParityError.
    Issues an ExportWarning for problems that trials suggest but cannot prove.
    """
    if steps < 1:
        raise ConfigError(f"steps {steps} is below 1: the parity gate takes at least one step")
    quantization = Quantization(precision) if isinstance(precision, str) else precision
    plan = _Plan(
        source, chosen_target(target, quantization), quantization, steps, examples, tolerance or {}, tuple(confirm)
    )
    with _quietly():
        exported = _export(plan, Path(out), overwrite=overwrite)
    warn(exported.warnings)
    return exported


@dataclass(frozen=True)
class _Plan:
    """What is exported, and how."""

    source: Source
    target: Target
    quantization: Quantization
    steps: int
    examples: Examples | None
    tolerance: Mapping[str, float]
    confirm: tuple[str, ...]


def _export(plan: _Plan, out: Path, *, overwrite: bool) -> Exported:
    begun = time.perf_counter()
    source, target, quantization = plan.source, plan.target, plan.quantization
    with new_bundle(out, overwrite=overwrite) as writer:
        free = source.network.graphs()
        sizes = {} if target.sizes is None else target.sizes([graph.spec for graph in free], advised(free))
        graphs, held_out = at_sizes(free, sizes), held_out_at(source.held_out, free, sizes)
        contract = Contract(tuple(graph.spec for graph in graphs))
        _check_kinds(contract, source.network.task)
        _check_assets(source.assets, contract)
        real = None if plan.examples is None else RealInputs(plan.examples, contract)
        found = unconfirmed(check_graphs(graphs, real), plan.confirm)
        _check_loads(source)
        ready = [replace(each, module=settled(each.module)) for each in calibrated(free, source.held_out, real)]
        artifacts = target.write(ready, quantization, source.assets)
        names = {name: artifact.name or f"{name}{target.suffix}" for name, artifact in artifacts.items()}
        _check_places(source.assets, names)
        weights = {name: each.weights for name, each in artifacts.items()}
        _check_kept(weights, quantization)
        check_quantised(quantization.name, weights)
        engines = {graph.spec.name: _loaded(target, artifacts[graph.spec.name], graph.spec) for graph in graphs}
        proof = prove(
            graphs,
            engines,
            held_out,
            quantization.name,
            plan.steps,
            examples=real,
            tolerance=plan.tolerance,
        )
        files = {names[name]: artifact.data for name, artifact in artifacts.items()}
        for part in (*(each.files for each in artifacts.values()), *(each.files() for each in graphs)):
            files.update(part)
        files.update({**proof.vectors, **source.assets})
        for graph in graphs:
            name = graph.spec.name
            replay(engines[name], graph.spec, proof.golden[name], files, quantization.name)
        if target.complete is not None:
            files.update(target.complete(contract.graphs, engines, proof.golden, files))
        write_files(writer.directory, files)
        writer.finish(
            Manifest(
                task=source.network.task,
                target=target.name,
                precision=quantization.name,
                digest=weights_digest(source.network, contract),
                contract=contract,
                graphs=names,
                provenance={
                    **_tools(),
                    "parameters": _parameters(source.network),
                    **source.provenance,
                    **({"tolerance": dict(plan.tolerance)} if plan.tolerance else {}),
                    **({"confirmed": list(plan.confirm)} if plan.confirm else {}),
                },
                parity=proof.parity.to_json(),
                weights=_recorded(weights) if quantization.name != "fp32" else {},
                golden=proof.golden,
            )
        )
        Model(Bundle.load(writer.directory), target.engine)
    return Exported(
        out,
        target.name,
        quantization.name,
        bytes=sum(artifact.bytes for artifact in artifacts.values()),
        bundle_bytes=sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        seconds=time.perf_counter() - begun,
        parity=proof.parity,
        weights=weights,
        single_bytes=_single_bytes(artifacts.values()),
        warnings=found,
        unproven=target.unproven(),
    )


def verify(bundle: str | Path, source: Source, *, steps: int = STEPS, execution: Execution = DEFAULT) -> Parity:
    """Check again that the bundle is `source`: contract and assets, and `steps` chained steps of every graph.

    execution: how the engine of the bundle executes its graphs.
    Raises CheckFailedError if it was made from something else, ParityError if it differs, BundleError if it is damaged,
    EngineError if the engine cannot execute it as `execution` says.
    """
    loaded = Bundle.load(bundle)
    manifest = loaded.manifest
    if manifest.target not in ENGINES or manifest.precision not in TOLERANCES:
        raise ConfigError(f"{bundle} is for {manifest.target} at {manifest.precision}, which this edgernn does not run")
    free = source.network.graphs()
    sizes = fixed_sizes(free, manifest.contract)
    graphs, held_out = at_sizes(free, sizes), held_out_at(source.held_out, free, sizes)
    contract = Contract(tuple(graph.spec for graph in graphs))
    for difference, same in (
        ("with other weights", manifest.digest == weights_digest(source.network, contract)),
        ("with another contract", manifest.contract == contract),
        ("for another task", manifest.task == source.network.task),
        ("with other initial states", all(graph.files().items() <= loaded.files.items() for graph in graphs)),
    ):
        if not same:
            raise CheckFailedError(f"{bundle} was exported {difference}{_origins(manifest, source)}")
    written = _written(manifest.graphs)
    assets = {
        name: data
        for name, data in loaded.files.items()
        if _may_be_asset(name, contract) and not written.fullmatch(name)
    }
    for name in sorted(assets.keys() | source.assets.keys()):
        if assets.get(name) != source.assets.get(name):
            raise CheckFailedError(f"{bundle} was exported with another {name}{_origins(manifest, source)}")
    with _quietly():
        engines = {graph.spec.name: _engine(loaded, graph.spec, execution) for graph in graphs}
        return prove(graphs, engines, held_out, manifest.precision, steps, tolerance=_set_tolerance(manifest)).parity


def _written(names: Mapping[str, str]) -> re.Pattern[str]:
    """Return the pattern of the names of the graph files and those beside them, such as model.c and model_check.c.

    names: of the graph files, by graph.
    """
    stems = "|".join(re.escape(Path(name).stem) for name in names.values())
    return re.compile(rf"({stems})(_check)?\..*")


def _origins(manifest: Manifest, source: Source) -> str:
    """Of which run a bundle was made and which it was compared with, as the end of a message, and what to do."""
    made, given = (about.get("run") for about in (manifest.provenance, source.provenance))
    if made and given and made != given:
        return f" than {given} has: it was made from the run {str(made)[:_NAMED]}: verify it against that one"
    return " than this source has: name the one that it was made from, or export it again"


_NAMED = 100  # characters of a name that comes from a manifest


def _set_tolerance(manifest: Manifest) -> dict[str, float]:
    """Return the limits that the caller of the export set, which the bundle records."""
    changed = manifest.provenance.get("tolerance", {})
    return dict(changed) if isinstance(changed, Mapping) else {}


def _check_kinds(contract: Contract, task: str) -> None:
    """Raise ExportError if a runtime would infer kinds from tensor names, as it does for old bundles of some tasks."""
    if with_kinds(contract, task) != contract:
        raise ExportError(f"the tensors of a contract of the task {task} must declare their kind")


def _check_assets(assets: Mapping[str, bytes], contract: Contract) -> None:
    """Raise ExportError for an asset whose name is not a plain file name, or is that of another file of a bundle."""
    for name in assets:
        if not _ASSET.fullmatch(name):
            raise ExportError(f"the asset {name[:100]!r} has no plain file name: use letters, digits, '_', '-' and '.'")
        if not _may_be_asset(name, contract):
            raise _taken(name)


def _check_places(assets: Mapping[str, bytes], names: Mapping[str, str]) -> None:
    """Raise ExportError for an asset with the name of a graph file, or of one beside it. names: by graph."""
    written = _written(names)
    for name in assets:
        if written.fullmatch(name):
            raise _taken(name)


def _taken(name: str) -> ExportError:
    return ExportError(f"the asset {name!r} would take the place of another file of the bundle: rename it")


def _may_be_asset(name: str, contract: Contract) -> bool:
    """Return whether a name is neither a file nor a folder that bundles use themselves."""
    folders = {"golden"}
    for spec in contract.graphs:
        if name.startswith(f"{spec.name}."):
            return False
        initial = (state.initial for state in spec.states)
        folders.update(each.file.split("/")[0] for each in initial if isinstance(each, FromFile))
    return "/" not in name and name != MANIFEST and name not in folders


def _check_loads(source: Source) -> None:
    """Raise ExportError unless contract and assets fit each other, so that their bundle can be loaded."""
    try:
        eager_model(source)
    except (BundleError, TokenizerError) as error:
        raise ExportError(f"a bundle of this network could not be loaded: {error}") from error


def _engine(loaded: Bundle, spec: GraphSpec, execution: Execution) -> Engine:
    target, data = loaded.manifest.target, loaded.graph(spec.name)
    if TARGETS[target].inspect(data).contract not in (None, spec):
        raise CheckFailedError(f"the contract in the file of graph {spec.name} is another than the bundle's")
    return ENGINES[target](data, spec, execution, loaded.files)


@contextmanager
def _quietly() -> Iterator[None]:
    """Make torch use one thread, and suppress warnings.

    On a busy machine, a step that is shared between threads takes ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(before)


def _loaded(target: Target, artifact: Artifact, spec: GraphSpec) -> Engine:
    return target.engine(artifact.data, spec, DEFAULT, artifact.files)


def _recorded(weights: Mapping[str, Sequence[Weight]]) -> dict[str, list[dict[str, Any]]]:
    """Return the weights as the manifest records them."""
    return {graph: [weight.to_json() for weight in each] for graph, each in weights.items()}


def _single_bytes(artifacts: Collection[Artifact]) -> int | None:
    """Return the total size of the graph files at fp32, or None if it is unknown."""
    sizes = [artifact.single for artifact in artifacts if artifact.single is not None]
    return sum(sizes) if len(sizes) == len(artifacts) else None


def _check_kept(weights: Mapping[str, Sequence[Weight]], quantization: Quantization) -> None:
    """Raise ConfigError for a pattern of matrices to keep that matches none."""
    names = [weight.name for graph in weights.values() for weight in graph]
    for pattern in quantization.keep:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"the pattern {pattern} (--keep) matches none of the matrices: {few(names)}")


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _tools() -> dict[str, str]:
    return {"edgernn": edgernn.__version__, **{name: version(name) for name in ("torch", "onnx", "onnxruntime")}}
