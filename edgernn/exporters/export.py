"""From a trained network to a proven bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import edgernn
from edgernn.bundle import TOKENIZER, Bundle, Manifest, new_bundle
from edgernn.contract import Contract
from edgernn.engines import ENGINES, EagerEngine
from edgernn.errors import CheckFailedError, ConfigError
from edgernn.exporters.onnx import ONNX
from edgernn.exporters.parity import STEPS, TOLERANCES, Parity, compare, worst
from edgernn.exporters.target import Target
from edgernn.exporters.torchscript import TORCHSCRIPT
from edgernn.models import Network, weights_digest
from edgernn.tokenizer import Tokenizer
from edgernn.training import Run

__all__ = ["TARGETS", "Exported", "Source", "export", "verify"]

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, TORCHSCRIPT)}


@dataclass(frozen=True)
class Source:
    """What is exported: a network in evaluation mode, its tokenizer if it has one, and where it came from."""

    network: Network
    tokenizer: Tokenizer | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Source:
        """The run at `path`. Raises RunError, which says what is wrong with it."""
        run = Run.load(path)
        about = {"model": run.model.to_json(), "training": run.training.to_json(), "corpus": asdict(run.corpus)}
        return cls(run.network(), run.tokenizer, about)


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
    precision: str = "fp32",
    steps: int = STEPS,
    overwrite: bool = False,
) -> Exported:
    """Export `source` to a bundle at `out`, which appears only if it passes the parity gate over `steps` steps.

    Raises ConfigError for a target or precision that does not exist, OutputExistsError, ExportError and ParityError.
    """
    begun = time.perf_counter()
    chosen = _target(target, precision)
    graphs = source.network.graphs()
    contract = Contract(tuple(graph.spec for graph in graphs))
    parities, files = [], {}
    with new_bundle(out, overwrite=overwrite) as writer:
        for graph in graphs:
            data = chosen.write(graph)
            files[graph.spec.name] = f"{graph.spec.name}{chosen.suffix}"
            for name, content in {files[graph.spec.name]: data, **graph.files()}.items():
                (writer.directory / name).parent.mkdir(exist_ok=True)
                (writer.directory / name).write_bytes(content)
            reference = EagerEngine(graph.source, graph.spec)
            artifact = chosen.engine(data, graph.spec)
            parities.append(compare(reference, artifact, graph.spec, tolerance=TOLERANCES[precision], steps=steps))
        if source.tokenizer is not None:
            (writer.directory / TOKENIZER).write_text(source.tokenizer.to_json(), encoding="utf-8")
        writer.finish(
            Manifest(
                task=source.network.task,
                target=target,
                precision=precision,
                digest=weights_digest(source.network, contract),
                contract=contract,
                graphs=files,
                provenance={**_tools(), **source.provenance},
                parity=worst(parities).to_json(),
            )
        )
    path = Path(out)
    return Exported(
        path,
        target,
        precision,
        bytes=sum((path / file).stat().st_size for file in files.values()),
        bundle_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
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
    parities = []
    for graph in graphs:
        data = loaded.graph(graph.spec.name)
        if TARGETS[manifest.target].inspect(data).contract not in (None, graph.spec):
            raise CheckFailedError(f"{bundle}: the contract in the file of graph {graph.spec.name} is another")
        artifact = ENGINES[manifest.target](data, graph.spec)
        reference = EagerEngine(graph.source, graph.spec)
        tolerance = TOLERANCES[manifest.precision]
        parities.append(compare(reference, artifact, graph.spec, tolerance=tolerance, steps=steps))
    return worst(parities)


def _same_tokenizer(bundle: Bundle, source: Source) -> bool:
    theirs = bundle.tokenizer()
    if theirs is None or source.tokenizer is None:
        return theirs is source.tokenizer
    return theirs.to_json() == source.tokenizer.to_json()


def _target(name: str, precision: str) -> Target:
    if name not in TARGETS:
        raise ConfigError(f"--to {name}: there is {', '.join(TARGETS)}")
    target = TARGETS[name]
    if precision not in target.precisions:
        raise ConfigError(f"--precision {precision}: {name} has {', '.join(target.precisions)}")
    return target


def _tools() -> dict[str, str]:
    return {"edgernn": edgernn.__version__, **{name: version(name) for name in ("torch", "onnx", "onnxruntime")}}
